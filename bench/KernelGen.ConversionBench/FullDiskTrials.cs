using System.Globalization;

namespace KernelGen.ConversionBench;

/// <summary>
/// Lets conversions run out of disk on a small tmpfs (Linux, as root), at several fill levels and in two ways: full from the start, and
/// shrunk while the conversion is writing. Each must end with exit code 2 and a message, leave nothing under the final name, and be continued
/// to the reference's bytes when there is room.
/// </summary>
internal static class FullDiskTrials
{
    private const int MostAttempts = 20;

    public static int Run(Arguments arguments)
    {
        string tool = arguments.Text("tool"), model = arguments.Text("model"), work = arguments.Text("work");
        long levels = arguments.Number("levels", 20), shardBytes = arguments.Number("shard-size", 10_000_000);
        string mount = Path.Combine(work, "tmpfs"), reference = Path.Combine(work, "reference"), output = Path.Combine(mount, "out");
        FolderContent.Delete(reference);
        Directory.CreateDirectory(mount);
        using (ToolProcess process = ToolProcess.Quantize(tool, model, reference, shardBytes))
        {
            Require(process.Wait().ExitCode == 0, "the undisturbed run failed");
        }

        string? expected = FolderContent.Describe(reference), source = FolderContent.Describe(model);
        long needed = FolderContent.Bytes(reference);
        (int refused, int ranOut, int outran) = (0, 0, 0);
        for (int level = 0; level < levels; level++)
        {
            long room = needed * (level + 1) / (levels + 1);
            ToolProcess.Require("mount", "-t", "tmpfs", "-o", Size(room), "kernelgen-full", mount);
            try
            {
                RunOut(ToolProcess.Quantize(tool, model, output, shardBytes), output);
                refused++;
                Resume(tool, model, mount, output, shardBytes, needed, expected);
            }
            finally
            {
                ToolProcess.Require("umount", mount);
            }

            // A conversion may be done before the shrinking takes hold: then it is tried again.
            for (int attempt = 0; attempt < MostAttempts && !Shrink(); attempt++)
            {
                outran++;
            }

            bool Shrink()
            {
                ToolProcess.Require("mount", "-t", "tmpfs", "-o", Size(2 * needed), "kernelgen-full", mount);
                try
                {
                    using ToolProcess process = ToolProcess.Quantize(tool, model, output, shardBytes);
                    while (!process.HasExited && FolderContentBytes(output + ".partial") < room)
                    {
                        Thread.Sleep(1);
                    }

                    // What is in use stays; there is hardly room for more.
                    using (ToolProcess shrink = ToolProcess.Start("mount", "-o", "remount," + Size(Math.Max(room, FolderContentBytes(output + ".partial")) + (1 << 16)), mount))
                    {
                        _ = shrink.Wait();
                    }

                    (int code, string errors) = process.Wait();
                    if (code != 0)
                    {
                        CheckRefusal(code, errors, output);
                        ranOut++;
                        Resume(tool, model, mount, output, shardBytes, needed, expected);
                    }

                    Require(FolderContent.Describe(output) == expected, "the result differs from an undisturbed run's");
                    return code != 0;
                }
                finally
                {
                    ToolProcess.Require("umount", mount);
                }
            }
        }

        Require(FolderContent.Describe(model) == source, "the source was changed");
        Console.WriteLine(
            $"{levels} fill levels of {needed} bytes: {refused} runs refused at the start; shrunk while writing, {ranOut} ran out of space, after {outran} that were "
            + "done before it took hold. Every failed run ended with exit code 2, left nothing under the final name, and was continued to the reference's bytes.");
        FolderContent.Delete(work);
        return 0;
    }

    private static string Size(long bytes) => "size=" + bytes.ToString(CultureInfo.InvariantCulture);

    private static void RunOut(ToolProcess process, string output)
    {
        (int code, string errors) = process.Wait();
        process.Dispose();
        CheckRefusal(code, errors, output);
    }

    private static void CheckRefusal(int code, string errors, string output)
    {
        Require(code == 2, $"a full disk gave exit code {code}: {errors}");
        Require(errors.Contains("Free space on this disk", StringComparison.Ordinal), $"a full disk gave the message: {errors}");
        Require(!Directory.Exists(output), "a full disk left something under the final name");
    }

    private static void Resume(string tool, string model, string mount, string output, long shardBytes, long needed, string? expected)
    {
        ToolProcess.Require("mount", "-o", "remount," + Size(4 * needed), mount);
        using ToolProcess process = ToolProcess.Quantize(tool, model, output, shardBytes);
        (int code, string errors) = process.Wait();
        Require(code == 0, $"with room again, the run ended with {code}: {errors}");
        Require(FolderContent.Describe(output) == expected, "the continued result differs from an undisturbed run's");
    }

    /// <summary>The bytes in a folder whose files come and go.</summary>
    private static long FolderContentBytes(string folder)
    {
        try
        {
            return FolderContent.Bytes(folder);
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new InvalidOperationException(message);
        }
    }
}
