using System.Diagnostics;
using System.Globalization;

namespace KernelGen.ConversionBench;

/// <summary>
/// Measures a conversion beside <c>cp</c> of the same files (Linux): rate of both, with cold caches, and peak resident memory. Prints a row
/// of the table in docs/benchmarks-conversion.md per round.
/// </summary>
internal static class Measurement
{
    public static int Run(Arguments arguments)
    {
        string tool = arguments.Text("tool"), model = arguments.Text("model"), work = arguments.Text("work");
        Directory.CreateDirectory(work);
        string copy = Path.Combine(work, "copy"), output = Path.Combine(work, "int8");
        long bytes = FolderContent.Bytes(model);
        Console.WriteLine("| source bytes | cp, s | cp and sync, s | quantize, s | quantize rate / cp rate | / cp and sync | peak resident MB | result bytes |");
        for (long round = arguments.Number("rounds", 1); round > 0; round--)
        {
            FolderContent.Delete(copy);
            FolderContent.Delete(output);
            Forget(model);
            long started = Stopwatch.GetTimestamp();
            ToolProcess.Require("cp", "-r", model, copy);
            double copied = Stopwatch.GetElapsedTime(started).TotalSeconds;
            ToolProcess.Require("sync", "-f", copy);
            double synced = Stopwatch.GetElapsedTime(started).TotalSeconds;
            FolderContent.Delete(copy);
            Forget(model);
            using ToolProcess process = ToolProcess.Quantize(tool, model, output, arguments.Number("shard-size", 2_000_000_000));
            (int code, string errors, long peak, double seconds) = process.WaitWatched();
            if (code != 0)
            {
                throw new InvalidOperationException($"quantize ended with {code}: {errors}");
            }

            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {bytes} | {copied:0.00} | {synced:0.00} | {seconds:0.00} | {copied / seconds:0.00} | {synced / seconds:0.00} | {peak / 1e6:0} | {FolderContent.Bytes(output)} |"));
        }

        FolderContent.Delete(output);
        return 0;
    }

    /// <summary>Drops the files from the system's cache, so that both begin with the disk: dd's nocache of nothing.</summary>
    private static void Forget(string folder)
    {
        foreach (string path in Directory.EnumerateFiles(folder))
        {
            ToolProcess.Require("dd", $"if={path}", "iflag=nocache", "count=0", "status=none");
        }
    }
}
