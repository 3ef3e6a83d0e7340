using System.Text.Json;
using KernelGen.Cli.Output;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary>What programs read: one object a line, exactly the documented fields.</summary>
public sealed class JsonTests
{
    private const string Prompt = "The SELECT command";

    private static readonly string[] _generateFields =
    [
        "scheme", "prompt_tokens", "token_ids", "text", "finish_reason", "seconds", "first_token_seconds", "tokens_per_second", "model_bytes",
    ];

    [Fact]
    public void Eval_writes_an_object_per_scheme_in_the_order_asked_for()
    {
        ToolRun run = Eval("--windows", "2", "--scheme", "w8a16,fp32,llm-int8,fp32");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("", run.Error);
        Assert.Equal(["w8a16", "fp32", "llm-int8"], run.JsonLines.Select(line => line.GetProperty("scheme").GetString()));
        foreach (JsonElement line in run.JsonLines)
        {
            Assert.Equal(["scheme", "perplexity", "tokens_scored", "seconds", "model_bytes"], Fields(line));
            Assert.Equal(2 * 511, line.GetProperty("tokens_scored").GetInt32());
            Assert.InRange(line.GetProperty("perplexity").GetDouble(), 16.5, 18);
            Assert.True(line.GetProperty("seconds").GetDouble() > 0);
        }

        long float16 = run.JsonLines[1].GetProperty("model_bytes").GetInt64(), int8 = run.JsonLines[2].GetProperty("model_bytes").GetInt64();
        Assert.InRange(int8, float16 / 2, float16 * 3 / 4);
    }

    [Fact]
    public void Eval_takes_context_batch_threads_and_threshold()
    {
        ToolRun run = Eval("--windows", "3", "--context", "64", "--batch", "2", "--threads", "1", "--threshold", "0.5", "--scheme", "llm-int8,llm-int8-elements");
        Assert.Equal(0, run.ExitCode);
        Assert.All(run.JsonLines, line => Assert.Equal(3 * 63, line.GetProperty("tokens_scored").GetInt32()));
        ToolRun paper = Eval("--windows", "3", "--context", "64", "--batch", "2", "--threads", "1", "--scheme", "llm-int8");
        Assert.NotEqual(paper.JsonLines[0].GetProperty("perplexity").GetDouble(), run.JsonLines[0].GetProperty("perplexity").GetDouble());
    }

    [Fact]
    public void Eval_measures_every_scheme_unless_told()
    {
        ToolRun run = Eval("--windows", "1", "--context", "32");
        Assert.Equal(
            ["fp32", "absmax", "absmax-row", "absmax-vector", "zeropoint-vector", "w8a16", "llm-int8", "llm-int8-elements", "llm-int8-dequantized-outliers"],
            run.JsonLines.Select(line => line.GetProperty("scheme").GetString()));
    }

    [Fact]
    public void Eval_says_when_the_text_has_fewer_windows()
    {
        ToolRun run = ToolRun.InProcess("eval", "--model", ToolRun.Model, "--text", ShortText(), "--windows", "5", "--context", "16", "--scheme", "fp32", "--json");
        Assert.Equal(0, run.ExitCode);
        int windows = Assert.Single(run.JsonLines).GetProperty("tokens_scored").GetInt32() / 15;
        Assert.InRange(windows, 1, 4);
        Assert.Equal($"kernelgen: note: the text has {windows} windows, 5 were asked for.\n", run.Error);

        static string ShortText()
        {
            string file = Path.Combine(AppContext.BaseDirectory, "short.txt");
            File.WriteAllText(file, File.ReadAllText(ToolRun.Text)[..100]);
            return file;
        }
    }

    [Fact]
    public void A_perplexity_that_is_not_a_number_is_null()
    {
        using ModelCopy copy = new();
        copy.Poison("model.decoder.final_layer_norm.weight");
        ToolRun run = ToolRun.InProcess("eval", "--model", copy.Folder, "--text", ToolRun.Text, "--windows", "1", "--scheme", "fp32", "--json");
        Assert.Equal(2, run.ExitCode);
        Assert.Equal(JsonValueKind.Null, Assert.Single(run.JsonLines).GetProperty("perplexity").ValueKind);
    }

    [Theory]
    [InlineData(double.NaN, "null")]
    [InlineData(double.PositiveInfinity, "null")]
    [InlineData(double.NegativeInfinity, "null")]
    [InlineData(1.5, "1.5")]
    public void Numbers_that_JSON_lacks_are_null(double value, string expected)
    {
        using StringWriter text = new() { NewLine = "\n" };
        JsonLine.Write(text, writer => writer.WriteNumberOrNull("x", value));
        Assert.Equal($"{{\"x\":{expected}}}\n", text.ToString());
    }

    [Fact]
    public void Generate_writes_the_new_tokens_and_their_text()
    {
        ToolRun run = Generate("--prompt", Prompt, "--max-new-tokens", "12");
        JsonElement line = Assert.Single(run.JsonLines);
        Assert.Equal(_generateFields, Fields(line));
        Assert.Equal("llm-int8", line.GetProperty("scheme").GetString());
        Assert.Equal(12, line.GetProperty("token_ids").GetArrayLength());
        Assert.Equal("length", line.GetProperty("finish_reason").GetString());
        Assert.True(line.GetProperty("tokens_per_second").GetDouble() > 0);
        Assert.InRange(line.GetProperty("first_token_seconds").GetDouble(), 0, line.GetProperty("seconds").GetDouble());

        // Without --json: the same text, and nothing else.
        ToolRun plain = ToolRun.InProcess("generate", "--model", ToolRun.Model, "--prompt", Prompt, "--max-new-tokens", "12");
        Assert.Equal(line.GetProperty("text").GetString() + "\n", plain.Output);
        Assert.Equal("", plain.Error);
    }

    [Fact]
    public void Generate_in_fp32_gives_the_greedy_ids_of_transformers()
    {
        JsonElement expected = JsonElement.Parse(File.ReadAllText(Path.Combine(ToolRun.Model, "expected.json")));
        byte[] tokens = File.ReadAllBytes(Path.Combine(ToolRun.Model, "text.tokens.u16"));
        int offset = expected.GetProperty("greedy_prompt_offset").GetInt32();
        IEnumerable<int> prompt = Enumerable.Range(offset, expected.GetProperty("greedy_prompt_len").GetInt32())
            .Select(i => tokens[2 * i] | (tokens[(2 * i) + 1] << 8));
        ToolRun run = Generate("--prompt-ids", string.Join(',', prompt), "--max-new-tokens", "48", "--scheme", "fp32");
        JsonElement line = Assert.Single(run.JsonLines);
        Assert.Equal(Ids(expected.GetProperty("greedy")), Ids(line.GetProperty("token_ids")));
        Assert.Equal(32, line.GetProperty("prompt_tokens").GetInt32());
    }

    [Fact]
    public void Generate_draws_the_same_text_from_the_same_seed_only()
    {
        string[] first = [.. Enumerable.Range(0, 3).Select(seed => Draw(seed))];
        Assert.Equal(first[1], Draw(1));
        Assert.Equal(3, first.Distinct().Count());

        static string Draw(int seed) => Assert.Single(Generate(
            "--prompt", Prompt, "--max-new-tokens", "16", "--temperature", "1", "--top-p", "0.95", "--seed", $"{seed}").JsonLines).GetProperty("token_ids").GetRawText();
    }

    [Fact]
    public void Generate_ends_where_the_context_is_full()
    {
        ToolRun run = Generate("--prompt-ids", string.Join(',', Enumerable.Repeat(300, 510)), "--max-new-tokens", "50");
        JsonElement line = Assert.Single(run.JsonLines);
        Assert.Equal(3, line.GetProperty("token_ids").GetArrayLength());
        Assert.Equal("context", line.GetProperty("finish_reason").GetString());
    }

    [Fact]
    public void Generate_from_ids_needs_no_tokenizer()
    {
        using ModelCopy copy = new();
        File.Delete(copy.At("tokenizer.json"));
        string[] args = ["generate", "--model", copy.Folder, "--prompt-ids", "300,301", "--max-new-tokens", "4"];
        JsonElement line = Assert.Single(ToolRun.InProcess([.. args, "--json"]).JsonLines);
        Assert.Equal(JsonValueKind.Null, line.GetProperty("text").ValueKind);
        Assert.Equal(string.Join(',', Ids(line.GetProperty("token_ids"))) + "\n", ToolRun.InProcess(args).Output);
    }

    [Fact]
    public void A_prompt_may_begin_with_an_at_sign()
    {
        ToolRun run = Generate("--prompt", "@classmethod", "--max-new-tokens", "1");
        Assert.Equal(0, run.ExitCode);
        Assert.InRange(Assert.Single(run.JsonLines).GetProperty("prompt_tokens").GetInt32(), 2, 12);
    }

    [Fact]
    public void Devices_describes_the_processor()
    {
        // A machine with GPUs has a line for each behind the processor's.
        JsonElement line = ToolRun.InProcess("devices", "--json").JsonLines[0];
        Assert.Equal(["device", "name", "architecture", "logical_processors", "memory_bytes", "instruction_sets", "preferred"], Fields(line));
        Assert.Equal(Environment.ProcessorCount, line.GetProperty("logical_processors").GetInt32());
        string[] sets = [.. line.GetProperty("instruction_sets").EnumerateArray().Select(set => set.GetString()!)];
        Assert.Contains("scalar", sets);
        Assert.Equal(sets[0], line.GetProperty("preferred").GetString());
        Assert.False(string.IsNullOrWhiteSpace(line.GetProperty("name").GetString()));
    }

    [Fact]
    public void Inspect_counts_what_is_in_the_bundled_model()
    {
        JsonElement line = Assert.Single(ToolRun.InProcess("inspect", RepositoryPaths.Model("opt-1.5m"), "--json").JsonLines);
        Assert.Equal(
            [
                "path", "files", "family", "not_supported", "parameters", "types", "missing", "linear_layers", "linear_parameters", "int8_layers",
                "bytes_16bit", "bytes_int8", "cache_bytes", "devices",
            ],
            Fields(line));
        Assert.Equal("opt", line.GetProperty("family").GetString());
        Assert.Equal(1_517_824, line.GetProperty("parameters").GetInt64());

        // Six layers of hidden size 128: four projections, and an MLP of 512; a scale per output feature.
        const long Linear = 6 * 12 * 128 * 128, Outputs = 6 * ((4 * 128) + 512 + 128);
        Assert.Equal(36, line.GetProperty("linear_layers").GetInt32());
        Assert.Equal(Linear, line.GetProperty("linear_parameters").GetInt64());
        Assert.Equal(2 * 1_517_824, line.GetProperty("bytes_16bit").GetInt64());
        Assert.Equal((2 * 1_517_824) - Linear + (4 * Outputs), line.GetProperty("bytes_int8").GetInt64());
        Assert.Equal(6L * 2 * 4 * 128 * 512, line.GetProperty("cache_bytes").GetInt64());
        Assert.True(line.GetProperty("devices")[0].GetProperty("fits_int8").GetBoolean());
    }

    [Fact]
    public void Kernels_lists_every_variant_of_every_spec()
    {
        JsonElement[] lines = ToolRun.InProcess("kernels", "--json").JsonLines;
        Assert.All(lines, line => Assert.Equal(["spec", "kernel", "target", "needs", "available", "dropped"], Fields(line)));
        Assert.Equal(7, lines.Select(line => line.GetProperty("spec").GetString()).Distinct().Count());
        Assert.Contains(lines, line => line.GetProperty("kernel").GetString()!.EndsWith("_scalar", StringComparison.Ordinal) && line.GetProperty("available").GetBoolean());
        Assert.Equal(
            lines.Where(line => line.GetProperty("spec").GetString() == "LlmInt8").Select(line => line.GetRawText()),
            ToolRun.InProcess("kernels", "--json", "--spec", "llmint8").JsonLines.Select(line => line.GetRawText()));
    }

    private static ToolRun Eval(params string[] options) =>
        ToolRun.InProcess(["eval", "--model", ToolRun.Model, "--text", ToolRun.Text, "--json", .. options]);

    private static ToolRun Generate(params string[] options) => ToolRun.InProcess(["generate", "--model", ToolRun.Model, "--json", .. options]);

    private static IEnumerable<string> Fields(JsonElement line) => line.EnumerateObject().Select(static property => property.Name);

    private static int[] Ids(JsonElement array) => [.. array.EnumerateArray().Select(static id => id.GetInt32())];
}
