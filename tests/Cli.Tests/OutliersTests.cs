using System.Security.Cryptography;
using System.Text.Json;
using KernelGen.Cli.Html;
using KernelGen.Cli.Output;
using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary><c>kernelgen outliers</c> from its arguments to files that the other commands take.</summary>
public sealed class OutliersTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-outliers-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_set_that_it_writes_is_what_eval_and_quantize_take_and_has_the_perplexity_that_it_says()
    {
        string set = Path.Combine(_folder, "set.json"), page = Path.Combine(_folder, "report.html");
        ToolRun run = Outliers("--windows", "1", "--draws", "2", "--threshold", "2", "--thresholds", "3,1.5", "--out", set, "--report", page, "--json");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        JsonElement result = run.JsonLines.Single();
        Assert.Equal(
            ["model", "text", "windows", "context", "batch", "threshold", "least_layer_share", "least_position_share", "layers", "perplexity", "vector_wise_perplexity", "features", "zeroing", "thresholds", "suggestion", "inputs"],
            result.EnumerateObject().Select(static property => property.Name));
        Assert.Equal(4 * 6, result.GetProperty("inputs").GetArrayLength());
        Assert.Equal([1.5, 3], result.GetProperty("thresholds").EnumerateArray().Select(static trial => trial.GetProperty("threshold").GetDouble()));
        Assert.All(result.GetProperty("zeroing").EnumerateArray(), static experiment => Assert.Equal(2, experiment.GetProperty("random").GetArrayLength()));
        Assert.Contains("id=\"data\"", File.ReadAllText(page));

        // The set is the JSON's, and means the same whoever loads it.
        Assert.True(JsonElement.DeepEquals(result.GetProperty("suggestion").GetProperty("fixed_outliers"), JsonElement.Parse(File.ReadAllText(set))));
        double threshold = result.GetProperty("suggestion").GetProperty("fixed_threshold").GetDouble();
        string expected = result.GetProperty("thresholds").EnumerateArray().Single(trial => trial.GetProperty("threshold").GetDouble() == threshold).GetProperty("fixed_perplexity").GetRawText();
        Assert.Equal(expected, Perplexity(ToolRun.Model, "--fixed-outliers", set));
        Assert.Equal(0, ToolRun.InProcess("quantize", "--model", ToolRun.Model, "--out", Path.Combine(_folder, "int8"), "--scheme", "llm-int8-fixed", "--fixed-outliers", set).ExitCode);
        Assert.Equal(expected, Perplexity(Path.Combine(_folder, "int8")));
    }

    [Fact]
    public void The_analysis_is_told_in_words()
    {
        ToolRun run = Outliers("--windows", "1", "--draws", "1", "--thresholds", "6");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Contains("Systematic features", run.Output);
        Assert.Contains("Threshold 6: the highest tried", run.Output);
    }

    [Fact]
    public void A_fixed_set_alone_adds_its_scheme_to_all_others()
    {
        string set = Write("""{"model.decoder.layers.0.fc1":[1]}""");
        ToolRun run = ToolRun.InProcess("eval", "--model", ToolRun.Model, "--text", ToolRun.Text, "--windows", "1", "--context", "16", "--fixed-outliers", set, "--json");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Equal("llm-int8-fixed", run.JsonLines[^1].GetProperty("scheme").GetString());
        Assert.Equal(10, run.JsonLines.Length);
    }

    [Theory]
    [InlineData("""{"model.decoder.layers.9.fc1":[1]}""", "llm-int8-fixed", "model.decoder.layers.9.fc1")]
    [InlineData("""{"model.decoder.layers.0.fc1":[128]}""", "llm-int8-fixed", "128 input features")]
    [InlineData("""{"model.decoder.layers.0.fc1":[1,1]}""", "llm-int8-fixed", "column 1 twice")]
    [InlineData("[]", "llm-int8-fixed", "Array")]
    [InlineData("{}", "llm-int8", "llm-int8-fixed")]
    public void A_set_that_eval_cannot_use_is_refused_by_name(string json, string scheme, string expected)
    {
        ToolRun run = ToolRun.InProcess(
            "eval", "--model", ToolRun.Model, "--text", ToolRun.Text, "--windows", "1", "--scheme", scheme, "--fixed-outliers", Write(json));
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains(expected, run.Error);
    }

    [Theory]
    [InlineData("--thresholds", "", "--thresholds: ''")]
    [InlineData("--thresholds", "6,-1", "--thresholds: '-1'")]
    [InlineData("--thresholds", "6,NaN", "--thresholds: 'NaN'")]
    [InlineData("--threshold", "0", "--threshold: '0'")]
    [InlineData("--draws", "0", "--draws: '0'")]
    [InlineData("--seed", "-1", "--seed: '-1'")]
    [InlineData("--context", "513", "--context: 513")]
    [InlineData("--report", "no-such-folder/report.html", "no-such-folder")]
    [InlineData("--report", ".", "is a folder")]
    [InlineData("--out", "", "--out: ''")]
    public void Bad_input_ends_with_2(string option, string value, string expected)
    {
        ToolRun run = Outliers(option, value);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains(expected, run.Error);
    }

    [Fact]
    public void A_stopped_run_ends_with_130_and_writes_nothing()
    {
        string page = Path.Combine(_folder, "report.html");
        ToolRun run = ToolRun.InProcess(new CancellationToken(canceled: true), "outliers", "--model", ToolRun.Model, "--text", ToolRun.Text, "--report", page);
        Assert.Equal(130, run.ExitCode);
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    [Theory]
    [InlineData("config.json", "--out", "inside the folder of --model")]
    [InlineData("model.safetensors", "--report", "inside the folder of --model")]
    [InlineData("sub/../tokenizer.json", "--out", "inside the folder of --model")]
    [InlineData("new.html", "--report", "inside the folder of --model")]
    [InlineData("../text.txt", "--out", "is the file of --text")]
    [InlineData("../text.txt", "--report", "is the file of --text")]
    [InlineData("../mine.json", "--out", "exists. Name a new file.")]
    [InlineData("../mine.json", "--report", "exists and is no page that this command wrote. Name a new file.")]
    [InlineData("../tuning.html", "--report", "exists and is no page that this command wrote. Name a new file.")]
    [InlineData("../link/config.json", "--out", "inside the folder of --model")]
    public void A_file_that_is_not_the_commands_own_is_not_overwritten(string name, string option, string expected)
    {
        string model = Directory.CreateDirectory(Path.Combine(_folder, "model")).FullName, text = Path.Combine(_folder, "text.txt");
        foreach (string file in new[] { "config.json", "model.safetensors", "tokenizer.json" })
        {
            File.Copy(Path.Combine(ToolRun.Model, file), Path.Combine(model, file));
        }

        Directory.CreateDirectory(Path.Combine(model, "sub"));
        Directory.CreateSymbolicLink(Path.Combine(_folder, "link"), model);
        File.Copy(ToolRun.Text, text);
        File.WriteAllText(Path.Combine(_folder, "mine.json"), "{}");
        File.WriteAllText(Path.Combine(_folder, "tuning.html"), HtmlReport.Compose("Tuning", HtmlReport.Tuning, static _ => { }));
        (string, string)[] before = Content();

        string path = Path.Combine(model, name);
        ToolRun run = ToolRun.InProcess("outliers", "--model", model, "--text", text, option, path);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.StartsWith($"kernelgen: {option}: '{path}' ", run.Error, StringComparison.Ordinal);
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        Assert.Equal(before, Content());

        (string, string)[] Content() =>
            [.. Directory.GetFiles(_folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(static file => (file, Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file)))))];
    }

    [Fact]
    public void Two_outputs_are_two_files()
    {
        string file = Path.Combine(_folder, "both"), again = Path.Combine(_folder, "..", Path.GetFileName(_folder), "both");
        ToolRun run = Outliers("--out", file, "--report", again);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Equal($"kernelgen: --report: '{again}' is the file of --out too. Name another one.\n", run.Error);
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void A_page_that_the_command_wrote_is_replaced_and_other_files_stay()
    {
        string page = Path.Combine(_folder, "report.html"), set = Path.Combine(_folder, "s.json");
        File.WriteAllText(page, HtmlReport.Compose("An older page", HtmlReport.Outliers, static _ => { }));
        File.WriteAllText(page + ".tmp", "mine");
        File.WriteAllText(set + ".tmp", "mine too");
        ToolRun run = Outliers("--windows", "1", "--draws", "1", "--thresholds", "6", "--report", page, "--out", set);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.DoesNotContain("An older page", File.ReadAllText(page), StringComparison.Ordinal);
        Assert.Equal(("mine", "mine too"), (File.ReadAllText(page + ".tmp"), File.ReadAllText(set + ".tmp")));
        Assert.Equal([page, page + ".tmp", set, set + ".tmp"], Directory.GetFiles(_folder).Order(StringComparer.Ordinal));
    }

    [SkippableTheory]
    [InlineData("--out")]
    [InlineData("--report")]
    public void A_file_that_cannot_be_made_is_refused_before_the_analysis(string option)
    {
        // Nobody makes files there, not even root, whom a folder's mode does not hold.
        Skip.IfNot(OperatingSystem.IsLinux(), "There is no /proc here.");
        const string Path = "/proc/file";
        ToolRun run = Outliers(option, Path);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.StartsWith($"kernelgen: {option}: '{Path}' cannot be written: ", run.Error, StringComparison.Ordinal);
        Assert.EndsWith("Name a new file where you may write.\n", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_that_is_too_long_is_refused_before_the_analysis()
    {
        ToolRun run = Outliers("--out", Path.Combine(_folder, new string('a', 300)));
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("cannot be written", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Files_that_cannot_be_written_in_the_end_cost_no_results()
    {
        // Goes away when the first result is printed, which is before files are written.
        string gone = Directory.CreateDirectory(Path.Combine(_folder, "gone")).FullName, page = Path.Combine(_folder, "report.html");
        using Hooked output = new(() => Directory.Delete(gone));
        string set = Path.Combine(gone, "set.json");
        (int exitCode, string error) = Run(output, "--out", set, "--report", page);
        Assert.Equal(1, exitCode);
        Assert.Contains("Systematic features", output.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("The set is in", output.ToString(), StringComparison.Ordinal);
        Assert.StartsWith($"kernelgen: --out: '{set}' cannot be written (", error, StringComparison.Ordinal);
        Assert.EndsWith("and run the command again.\n", error, StringComparison.Ordinal);
        Assert.Equal([page], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void A_file_that_came_into_being_meanwhile_is_not_overwritten()
    {
        string set = Path.Combine(_folder, "set.json");
        using Hooked output = new(() => File.WriteAllText(set, "mine"));
        (int exitCode, string error) = Run(output, "--out", set);
        Assert.Equal(1, exitCode);
        Assert.Contains($"'{set}' cannot be written", error, StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(set));
        Assert.Equal([set], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void Files_are_written_also_where_the_reader_of_the_results_has_gone()
    {
        const int BrokenPipe = 32;
        string set = Path.Combine(_folder, "set.json"), page = Path.Combine(_folder, "report.html");
        using Hooked output = new(static () => throw new IOException("Broken pipe", BrokenPipe));
        Assert.Equal((141, ""), Run(output, "--out", set, "--report", page));
        Assert.Equal([page, set], Directory.GetFileSystemEntries(_folder).Order(StringComparer.Ordinal));
    }

    private static (int ExitCode, string Error) Run(TextWriter output, params string[] options)
    {
        using StringWriter error = new() { NewLine = "\n" };
        int exitCode = KernelGenTool.Run(
            ["outliers", "--model", ToolRun.Model, "--text", ToolRun.Text, "--windows", "1", "--draws", "1", "--thresholds", "6", .. options],
            new CommandContext(output, error, false, false, CancellationToken.None));
        return (exitCode, error.ToString());
    }

    private static ToolRun Outliers(params string[] options) => ToolRun.InProcess(["outliers", "--model", ToolRun.Model, "--text", ToolRun.Text, .. options]);

    private static string Perplexity(string model, params string[] options)
    {
        ToolRun run = ToolRun.InProcess(["eval", "--model", model, "--text", ToolRun.Text, "--windows", "1", "--scheme", "llm-int8-fixed", "--json", .. options]);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        return run.JsonLines.Single().GetProperty("perplexity").GetRawText();
    }

    private string Write(string json)
    {
        string path = Path.Combine(_folder, "outliers.json");
        File.WriteAllText(path, json);
        return path;
    }

    /// <summary>An output at whose first character something happens.</summary>
    private sealed class Hooked(Action first) : StringWriter
    {
        private Action? _first = first;

        public override void Write(char value)
        {
            First();
            base.Write(value);
        }

        public override void Write(char[] buffer, int index, int count)
        {
            First();
            base.Write(buffer, index, count);
        }

        public override void Write(string? value)
        {
            First();
            base.Write(value);
        }

        private void First() => Interlocked.Exchange(ref _first, null)?.Invoke();
    }
}
