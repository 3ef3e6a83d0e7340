using System.Text.Json;
using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary><c>kernelgen quantize</c> from its arguments to a checkpoint that the other commands take.</summary>
public sealed class QuantizeTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-quantize-").FullName;

    private string Output => Path.Combine(_folder, "int8");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_result_is_evaluated_as_if_converted_while_loading()
    {
        ToolRun run = Quantize("--shard-size", "600kB", "--threads", "1", "--json");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        JsonElement result = run.JsonLines.Single();
        Assert.Equal(
            ["folder", "quantized_layers", "skipped_layers", "source_bytes", "output_bytes", "linear_source_bytes", "linear_output_bytes", "shards", "resumed_shards", "seconds"],
            result.EnumerateObject().Select(static property => property.Name));
        Assert.Equal(36, result.GetProperty("quantized_layers").GetInt32());
        Assert.Equal(Directory.GetFiles(Output, "model-*.safetensors").Length, result.GetProperty("shards").GetInt32());
        Assert.All(Directory.GetFiles(Output, "model-*.safetensors"), static file => Assert.True(new FileInfo(file).Length < 620_000));

        const string Scheme = "llm-int8-dequantized-outliers";
        Assert.Equal(Perplexity(ToolRun.Model, Scheme), Perplexity(Output, Scheme));
    }

    [Fact]
    public void What_was_done_is_said_in_words()
    {
        ToolRun run = Quantize("--skip", "fc1,fc2");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Contains("24 linear layers", run.Output);
        Assert.Contains(Output, run.Output);
    }

    [Theory]
    [InlineData("--shard-size", "none", "--shard-size: 'none' is not a size")]
    [InlineData("--shard-size", "-1GB", "'-1GB'")]
    [InlineData("--shard-size", "0", "'0'")]
    [InlineData("--shard-size", "99999999999999999999999999999GB", "is not a size")]
    [InlineData("--scheme", "fp32", "--scheme: The scheme fp32 stores no int8 weights")]
    [InlineData("--scheme", "llm-int8-fixed", "needs a calibrated set")]
    [InlineData("--skip", "fc3", "no module 'fc3'")]
    [InlineData("--fixed-outliers", "no-such-file", "no-such-file")]
    [InlineData("--threshold", "0", "--threshold: '0'")]
    [InlineData("--out", "", "--out")]
    public void Bad_input_ends_with_2_and_leaves_nothing(string option, string value, string expected)
    {
        string[] output = option == "--out" ? [] : ["--out", Output];
        ToolRun run = ToolRun.InProcess(["quantize", "--model", ToolRun.Model, .. output, option, value]);

        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains(expected, run.Error);
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void What_no_model_could_be_loaded_from_is_not_converted()
    {
        using ModelCopy copy = new();
        copy.Write("config.json", File.ReadAllText(copy.At("config.json")).Replace("\"max_position_embeddings\": 512", "\"max_position_embeddings\": 600", StringComparison.Ordinal));
        ToolRun run = ToolRun.InProcess("quantize", "--model", copy.Folder, "--out", Output);

        Assert.Equal(2, run.ExitCode);
        Assert.Contains("embed_positions.weight", run.Error, StringComparison.Ordinal);
        Assert.Contains("[602, 128] was expected", run.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Output + ".partial"));
    }

    [Fact]
    public void A_stopped_run_ends_with_130_and_leaves_no_result()
    {
        ToolRun run = ToolRun.InProcess(new CancellationToken(canceled: true), "quantize", "--model", ToolRun.Model, "--out", Output);

        Assert.Equal(130, run.ExitCode);
        Assert.False(Directory.Exists(Output));
        Assert.Equal(0, Quantize().ExitCode);
        Assert.True(Directory.Exists(Output));
        Assert.False(Directory.Exists(Output + ".partial"));
    }

    private ToolRun Quantize(params string[] options) => ToolRun.InProcess(["quantize", "--model", ToolRun.Model, "--out", Output, .. options]);

    private static string Perplexity(string model, string scheme)
    {
        ToolRun run = ToolRun.InProcess("eval", "--model", model, "--text", ToolRun.Text, "--windows", "1", "--scheme", scheme, "--json");
        Assert.Equal(0, run.ExitCode);
        return run.JsonLines.Single().GetProperty("perplexity").GetRawText();
    }
}
