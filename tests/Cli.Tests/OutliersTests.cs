using System.Text.Json;
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
}
