using System.Diagnostics;

namespace KernelGen.ConversionBench;

/// <summary>
/// Kills conversions with SIGKILL at random moments. After each kill the result's folder must be absent, or whole and right; what is left is
/// continued by the next run, which is killed as well, and now and then let through: its result must be the same bytes as an undisturbed
/// run's, and the source untouched.
/// </summary>
internal static class KillTrials
{
    public static int Run(Arguments arguments)
    {
        string tool = arguments.Text("tool"), model = arguments.Text("model"), work = arguments.Text("work");
        long kills = arguments.Number("kills", 200), shardBytes = arguments.Number("shard-size", 10_000_000);
        Random random = new((int)arguments.Number("seed", 1));
        Directory.CreateDirectory(work);
        string reference = Path.Combine(work, "reference"), output = Path.Combine(work, "killed");
        FolderContent.Delete(reference);
        string? source = FolderContent.Describe(model);
        long started = Stopwatch.GetTimestamp();
        using (ToolProcess process = ToolProcess.Quantize(tool, model, reference, shardBytes))
        {
            (int code, string errors) = process.Wait();
            if (code != 0)
            {
                throw new InvalidOperationException($"the undisturbed run ended with {code}: {errors}");
            }
        }

        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        string? expected = FolderContent.Describe(reference);
        (int killed, int finishedFirst, int resumed, int completed, int published) = (0, 0, 0, 0, 0);
        while (killed < kills)
        {
            FolderContent.Delete(output);
            FolderContent.Delete(output + ".partial");
            bool continues = false;
            for (int chain = 1 + random.Next(4); chain > 0 && killed < kills; chain--)
            {
                using ToolProcess process = ToolProcess.Quantize(tool, model, output, shardBytes);

                // A little beyond the end, so that the last steps are hit as well.
                Thread.Sleep(TimeSpan.FromSeconds(random.NextDouble() * seconds * 1.1));
                if (process.HasExited)
                {
                    finishedFirst++;
                    break;
                }

                process.Kill();
                _ = process.Wait();
                killed++;
                resumed += continues ? 1 : 0;
                continues = true;
                if (FolderContent.Describe(output) is string visible)
                {
                    published++;
                    Require(visible == expected, "a killed run left a folder under the final name that is not the whole result");
                    break;
                }
            }

            if (FolderContent.Describe(output) is null || Directory.Exists(output + ".partial"))
            {
                using ToolProcess process = ToolProcess.Quantize(tool, model, output, shardBytes);
                (int code, string errors) = process.Wait();

                // Killed between its last two steps, a run leaves its lock behind a whole result, which is not written again.
                bool isWhole = code == 2 && errors.Contains("is not empty", StringComparison.Ordinal) && FolderContent.Describe(output) == expected;
                Require(code == 0 || isWhole, $"the run that continues ended with {code}: {errors}");
                completed++;
            }

            Require(FolderContent.Describe(output) == expected, "the result of continued runs differs from an undisturbed run's");
        }

        Require(FolderContent.Describe(model) == source, "the source was changed");
        Console.WriteLine(
            $"{killed} kills over {seconds:0.00} s runs: {resumed} of them hit a run that continued another, {published} came after the result had its name; "
            + $"{finishedFirst} runs ended before their kill; {completed} runs continued to the end. All results equal the reference, byte for byte.");
        FolderContent.Delete(work);
        return 0;
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new InvalidOperationException(message);
        }
    }
}
