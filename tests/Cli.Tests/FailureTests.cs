using KernelGen.Cli.Errors;
using KernelGen.Cli.Output;
using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary>What is not the input's fault: stopping, a full disk, a reader that went away, a defect.</summary>
public sealed class FailureTests
{
    [Theory]
    [InlineData("eval")]
    [InlineData("generate")]
    public void A_command_that_was_stopped_says_so(string command)
    {
        using CancellationTokenSource cancelled = new();
        cancelled.Cancel();
        string[] input = command == "eval" ? ["--text", ToolRun.Text] : ["--prompt", "a"];
        ToolRun run = ToolRun.InProcess(cancelled.Token, [command, "--model", ToolRun.Model, "--json", .. input]);
        Assert.Equal(130, run.ExitCode);
        Assert.Equal("", run.Output);
        Assert.Equal("kernelgen: stopped.\n", run.Error);
    }

    [Fact]
    public void A_full_disk_is_one_line()
    {
        (int exitCode, string error) = Fail(new IOException("No space left on device"));
        Assert.Equal(ExitCodes.Failed, exitCode);
        Assert.Equal("kernelgen: reading or writing failed: No space left on device\n", error);
    }

    [Fact]
    public void An_output_that_failed_is_one_line()
    {
        (int exitCode, string error) = Fail(new OutputFailedException("--out: 'x' cannot be written.", new IOException()));
        Assert.Equal((ExitCodes.Failed, "kernelgen: --out: 'x' cannot be written.\n"), (exitCode, error));
    }

    [Fact]
    public void Too_little_memory_is_one_line()
    {
        (int exitCode, string error) = Fail(new InsufficientMemoryException());
        Assert.Equal(ExitCodes.Failed, exitCode);
        Assert.Equal(1, error.Count(static character => character == '\n'));
        Assert.Contains("memory", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_defect_shows_what_a_report_needs()
    {
        (int exitCode, string error) = Fail(new InvalidCastException("defect"));
        Assert.Equal(ExitCodes.Failed, exitCode);
        Assert.Contains("please report", error, StringComparison.Ordinal);
        Assert.Contains(nameof(InvalidCastException), error, StringComparison.Ordinal);
    }

    private static (int ExitCode, string Error) Fail(Exception exception)
    {
        using StringWriter error = new() { NewLine = "\n" };
        int exitCode = ErrorReport.Failed(exception, new CommandContext(TextWriter.Null, error, false, false, CancellationToken.None));
        return (exitCode, error.ToString());
    }
}
