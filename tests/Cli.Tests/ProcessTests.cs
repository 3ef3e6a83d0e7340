using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary>The tool as a process: what only one has, such as pipes, signals and a current folder.</summary>
public sealed class ProcessTests
{
    [Fact]
    public void The_demo_runs_from_any_folder()
    {
        ToolRun run = ToolRun.AsProcess(Path.GetTempPath(), "demo", "--windows", "1", "--max-new-tokens", "4");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("", run.Error);
        Assert.Contains("Done in ", run.Output, StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', run.Output);
    }

    [Fact]
    public void Bad_input_ends_with_2()
    {
        ToolRun run = ToolRun.AsProcess(ToolRun.Model, "eval", "--model", ".", "--text", "missing.txt");
        Assert.Equal(2, run.ExitCode);
        Assert.Equal("", run.Output);
        Assert.Equal("kernelgen: --text: there is no file 'missing.txt'. Name a text file in UTF-8.\n", run.Error);
    }

    [SkippableFact]
    public void A_reader_that_closes_the_pipe_ends_it_quietly_and_early()
    {
        Skip.If(OperatingSystem.IsWindows(), "Needs a POSIX shell.");

        // Its second line has no reader any more.
        ToolRun run = ToolRun.InShell(
            "$KERNELGEN eval --model $MODEL --text $MODEL/text.txt --windows 1 --json | head -1; echo ${PIPESTATUS[0]}");
        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("", run.Error);
        Assert.Equal(2, lines.Length);
        Assert.Contains("\"scheme\":\"fp32\"", lines[0], StringComparison.Ordinal);
        Assert.Equal("141", lines[1]);
    }

    [SkippableFact]
    public void Damaged_tuning_records_are_a_note_beside_the_results()
    {
        Skip.If(OperatingSystem.IsWindows(), "Needs a POSIX shell.");
        string cache = Directory.CreateTempSubdirectory("kernelgen-cache-").FullName;
        try
        {
            string record = new('a', 32);
            ToolRun run = ToolRun.InShell(
                $"mkdir -p {cache}/tuning/v1; echo '{{' > {cache}/tuning/v1/{record}.json; KERNELGEN_CACHE={cache} $KERNELGEN eval --model $MODEL --text $MODEL/text.txt --windows 1 --json");
            Assert.Equal(0, run.ExitCode);
            Assert.StartsWith("kernelgen: note: Tuning records: 1 of 1 tuning records are damaged or foreign", run.Error, StringComparison.Ordinal);
            Assert.Single(run.Error.TrimEnd().Split('\n'));
            Assert.Contains("\"scheme\":\"llm-int8\"", run.Output, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(cache, recursive: true);
        }
    }

    [SkippableFact]
    public void A_full_disk_ends_with_1()
    {
        Skip.IfNot(File.Exists("/dev/full"), "Needs /dev/full.");
        ToolRun run = ToolRun.InShell("$KERNELGEN devices --json > /dev/full");
        Assert.Equal(1, run.ExitCode);
        Assert.StartsWith("kernelgen: reading or writing failed: ", run.Error, StringComparison.Ordinal);
        Assert.Equal(1, run.Error.Count(static character => character == '\n'));
    }

    [SkippableFact]
    public void Appending_to_a_file_keeps_what_is_there()
    {
        Skip.If(OperatingSystem.IsWindows(), "Needs a POSIX shell.");
        ToolRun run = ToolRun.InShell("""
            f=$(mktemp); echo first > $f; $KERNELGEN devices --json >> $f; $KERNELGEN devices --json >> $f 2>&1; cat $f; rm $f
            """);
        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(3, lines.Length);
        Assert.Equal("first", lines[0]);
        Assert.Equal(lines[1], lines[2]);
    }

    [SkippableFact]
    public void Ctrl_C_stops_a_stream_with_130()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "Needs env --default-signal.");

        // A shell's background jobs ignore SIGINT; env undoes that. The first line shows that the work has begun.
        ToolRun run = ToolRun.InShell("""
            exec 3< <(exec env --default-signal=INT $KERNELGEN eval --model $MODEL --text $MODEL/text.txt --context 16 --batch 1 --json 2>&1); pid=$!
            read -r line <&3
            kill -INT $pid
            rest=$(cat <&3)
            wait $pid
            echo $?
            echo "$rest" | tail -1
            """);
        Assert.Equal("", run.Error);
        Assert.Equal("130\nkernelgen: stopped.\n", run.Output);
    }
}
