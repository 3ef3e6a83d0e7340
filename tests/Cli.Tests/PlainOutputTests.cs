using System.Globalization;
using KernelGen.Cli.Models;
using KernelGen.Cli.Output;
using KernelGen.Kernels.Specs;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary>What people read, piped: plain text, the same in every culture.</summary>
public sealed class PlainOutputTests
{
    [Theory]
    [InlineData("devices")]
    [InlineData("kernels")]
    [InlineData("--help")]
    [InlineData("eval", "--help")]
    public void Piped_output_is_plain(params string[] args)
    {
        ToolRun run = ToolRun.InProcess(args);
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("", run.Error);
        AssertPlain(run.Output);
    }

    [Fact]
    public void Inspect_shows_types_sizes_and_where_they_fit()
    {
        ToolRun run = ToolRun.InProcess("inspect", RepositoryPaths.Model("opt-1.5m"));
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("", run.Error);
        AssertPlain(run.Output);
        foreach (string part in new[]
        {
            "1,517,824 parameters in one file", "opt: 6 layers, hidden size 128, 4 heads, vocabulary 2,048, context 512", "F16", "2.90 MiB",
            "quantized: 36 linear layers, 1,179,648 weights", "16 bit", "int8", "yes",
        })
        {
            Assert.Contains(part, run.Output, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_demo_tells_its_whole_story()
    {
        ToolRun run = ToolRun.InProcess("demo", "--windows", "1", "--max-new-tokens", "8");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("", run.Error);
        AssertPlain(run.Output);
        foreach (string part in new[]
        {
            "opt-1.5m, 1,517,824 parameters", "in float32", "checkpoint ", "int8 (llm-int8)",
            "Perplexity: 511 tokens", "llm-int8-dequantized-outliers", "llm-int8 is within ", "naive int8 (absmax) is off by ",
            "A text by the int8 model", "A database transaction is", "8 tokens at ", "Done in ",
        })
        {
            Assert.Contains(part, run.Output, StringComparison.Ordinal);
        }

        // Weights that are packed for vpmaddubsw carry corrections, many of them in rows this short.
        string share = LlmInt8.Kernels.Preferred.PairLimit > 0 ? "0.60" : "0.56";
        Assert.Contains($"take {share} of the checkpoint's memory", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_table_of_eval_is_the_same_in_every_culture()
    {
        string[] args = ["eval", "--model", ToolRun.Model, "--text", ToolRun.Text, "--windows", "1", "--scheme", "fp32,absmax", "--threads", "1"];
        string[] expected = Columns(ToolRun.InProcess(args));
        CultureInfo before = CultureInfo.CurrentCulture;
        CultureInfo hostile = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        hostile.NumberFormat.NumberDecimalSeparator = ",";
        hostile.NumberFormat.NegativeSign = "\u2212";
        hostile.NumberFormat.NumberGroupSeparator = ".";
        CultureInfo.CurrentCulture = hostile;
        try
        {
            Assert.Equal(expected, Columns(ToolRun.InProcess(args)));

            // A number that this culture would write with a comma is read as it stands.
            string[] threshold = ["generate", "--model", ToolRun.Model, "--prompt", "a", "--max-new-tokens", "1", "--threshold", "6.5"];
            Assert.Equal(0, ToolRun.InProcess(threshold).ExitCode);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }

        // Without the seconds, which differ from run to run.
        static string[] Columns(ToolRun run)
        {
            string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(3, lines.Length);
            AssertPlain(run.Output);
            return [.. lines[1..].SelectMany(line =>
            {
                string[] cells = line.Split("  ", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
                Assert.Equal(6, cells.Length);
                Assert.Matches("^[0-9]+\\.[0-9]{4}$", cells[1]);
                return cells.Where((_, i) => i != 4);
            })];
        }
    }

    [Fact]
    public void A_terminal_gets_a_boxed_table_and_no_control_characters_of_the_model()
    {
        using StringWriter output = new() { NewLine = "\n" };
        using StringWriter error = new() { NewLine = "\n" };
        int exitCode = KernelGenTool.Run(["devices"], new CommandContext(output, error, true, true, CancellationToken.None));
        Assert.Equal(0, exitCode);
        Assert.Contains("scalar", output.ToString(), StringComparison.Ordinal);
        Assert.Contains(output.ToString(), static character => character is '\u2502' or '|');
        Assert.Equal("a\uFFFD[31m\n\tb\uFFFD", TerminalText.Clean("a\u001b[31m\n\tb\u0007"));
    }

    [Fact]
    public void The_bundled_model_is_found_above_the_tool_or_the_current_folder()
    {
        DirectoryInfo elsewhere = Directory.CreateTempSubdirectory("kernelgen-cli-");
        try
        {
            Assert.Equal(ToolRun.Model, BundledModel.Find(elsewhere.FullName, Path.Combine(RepositoryPaths.Root, "src")));
            Errors.BadInputException missing = Assert.Throws<Errors.BadInputException>(() => BundledModel.Find(elsewhere.FullName));
            Assert.Contains("opt-1.5m", missing.Message, StringComparison.Ordinal);
            Assert.Contains("--model", missing.Message, StringComparison.Ordinal);
        }
        finally
        {
            elsewhere.Delete();
        }
    }

    private static void AssertPlain(string text)
    {
        Assert.DoesNotContain('\u001b', text);
        Assert.DoesNotContain('\r', text);
        Assert.All(text.Split('\n'), static line => Assert.Equal(line.TrimEnd(), line));
    }
}
