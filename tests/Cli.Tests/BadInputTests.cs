using KernelGen.Cli.Errors;
using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary>Whatever is wrong with the input: exit code 2, nothing on standard output, one message that names the thing.</summary>
public sealed class BadInputTests
{
    private const string Model = "{model}", Text = "{text}", Empty = "{empty folder}";

    public static TheoryData<string[], string[]> Commands => new()
    {
        // What is on the command line, what the message has to name.
        { [], ["command", "--help"] },
        { ["evaluate"], ["evaluate"] },
        { ["eval", "--text", Text], ["--model"] },
        { ["inspect"], ["inspect"] },
        { ["inspect", "no-such-folder"], ["no-such-folder"] },
        { ["inspect", Empty], ["model.safetensors"] },
        { ["eval", "--model", Model], ["--text"] },
        { ["eval", "--model", Model, "--text", Text, "--fast"], ["--fast"] },
        { Eval("--scheme", "int4"), ["--scheme", "'int4'", "llm-int8-elements"] },
        { Eval("--scheme", ""), ["--scheme", "''", "fp32"] },
        { Eval("--scheme", "fp32,,absmax"), ["--scheme", "''"] },
        { Eval("--scheme", "FP32"), ["--scheme", "'FP32'"] },
        { Eval("--threshold", "-1"), ["--threshold", "'-1'", "positive"] },
        { Eval("--threshold", "0"), ["--threshold", "'0'", "positive"] },
        { Eval("--threshold", "NaN"), ["--threshold", "'NaN'", "positive"] },
        { Eval("--threshold", "1e99"), ["--threshold", "'1e99'"] },
        { Eval("--threshold", "six"), ["--threshold", "'six'"] },
        { Eval("--threshold", "6", "--scheme", "fp32,absmax"), ["--threshold", "fp32, absmax", "llm-int8"] },
        { Eval("--windows", "0"), ["--windows", "'0'", "from 1"] },
        { Eval("--windows", "-3"), ["--windows", "'-3'"] },
        { Eval("--windows", "1.5"), ["--windows", "'1.5'"] },
        { Eval("--windows", "99999999999"), ["--windows", "'99999999999'"] },
        { Eval("--windows", "2", "--windows", "3"), ["--windows"] },
        { Eval("--batch", "0"), ["--batch", "'0'"] },
        { Eval("--threads", "0"), ["--threads", "'0'"] },
        { Eval("--context", "1"), ["--context", "'1'"] },
        { ["bench", "--shapes", "1x200000x16"], ["--shapes", "1x200000x16", "133144"] },
        { ["bench", "--shapes", "100000x100000x100000"], ["--shapes", "100000x100000x100000", "10000000000"] },
        { ["bench", "--k", "100000", "--n", "100000"], ["--m, --k, --n", "1x100000x100000"] },
        { ["bench", "--shapes", "1x64x64", "--k", "64"], ["--shapes", "--k"] },
        { ["bench", "--shapes", "1x128x64,1x64x64", "--outliers", "65"], ["--outliers", "65", "1x64x64"] },
        { ["autotune", "--shapes", "100000x100000x100000"], ["--shapes", "100000x100000x100000"] },
        { Eval("--scheme", "fp16"), ["--scheme", "'fp16'", "GPU", "fp32"] },
        { Eval("--context", "513", "--scheme", "fp32"), ["--context", "513", "512"] },
        { ["eval", "--model", "no-such-folder", "--text", Text], ["--model", "'no-such-folder'"] },
        { ["eval", "--model", "", "--text", Text], ["--model", "''"] },
        { ["eval", "--model", Text, "--text", Text], ["--model", "text.txt", "is a file"] },
        { ["eval", "--model", Empty, "--text", Text], [Empty] },
        { ["eval", "--model", Model, "--text", "no-such-file"], ["--text", "'no-such-file'"] },
        { ["eval", "--model", Model, "--text", ""], ["--text", "''"] },
        { ["eval", "--model", Model, "--text", Model], ["--text", Model, "is a folder"] },
        { ["generate", "--model", Model], ["--prompt", "--prompt-ids"] },
        { ["generate", "--model", Model, "--prompt", "a", "--prompt-ids", "1"], ["--prompt and --prompt-ids", "both"] },
        { Generate("--prompt", ""), ["--prompt", "empty"] },
        { Generate("--prompt-ids", ""), ["--prompt-ids", "''"] },
        { Generate("--prompt-ids", "1,two"), ["--prompt-ids", "'two'"] },
        { Generate("--prompt-ids", "1,,2"), ["--prompt-ids", "''"] },
        { Generate("--prompt-ids", "99999999999"), ["--prompt-ids", "'99999999999'"] },
        { Generate("--prompt-ids", "1,2048"), ["--prompt-ids", "2048", "2047"] },
        { Generate("--prompt-ids", "-1"), ["--prompt-ids", "-1", "2047"] },
        { Generate("--prompt-ids", string.Join(',', Enumerable.Repeat(5, 513))), ["--prompt-ids", "513", "512"] },
        { Generate("--prompt", "a", "--max-new-tokens", "0"), ["--max-new-tokens", "'0'"] },
        { Generate("--prompt", "a", "--scheme", "fp16"), ["--scheme", "'fp16'", "GPU", "fp32"] },
        { Generate("--prompt", "a", "--device", "gpu"), ["--device", "'gpu'", "cuda:0"] },
        { Generate("--prompt", "a", "--device", "cpu,cuda:0"), ["--device", "'cpu,cuda:0'", "before a GPU", "cuda:0,cpu"] },
        { Generate("--prompt", "a", "--device", "cuda:0,cuda:0"), ["--device", "'cuda:0'", "twice"] },
        { Generate("--prompt", "a", "--kv", "int8"), ["--kv", "float32", "--device cuda:0"] },
        { Shape("--device", "cpu"), ["--device", "GPU", "cuda:0"] },
        { Shape("--device", "cuda:x"), ["--device", "'cuda:x'"] },
        { ["bench", "--shapes", "1x64x48", "--op", "quantize"], ["--op", "'quantize'", "int8-gemm"] },
        { ["bench-model"], ["--shape", "opt-6.7b", "--model"] },
        { ["bench-model", "--shape", "opt-7b", "--random-weights"], ["--shape", "'opt-7b'", "opt-6.7b"] },
        { ["bench-model", "--shape", "opt-6.7b"], ["--random-weights"] },
        { ["bench-model", "--model", Model, "--random-weights"], ["--random-weights", "--model"] },
        { ["bench-model", "--model", Empty], [Empty, "config.json"] },
        { Shape("--model", Model), ["--shape and --model"] },
        { Shape("--batch", "1,,2"), ["--batch", "''"] },
        { Shape("--batch", "2000"), ["--batch", "'2000'", "1024"] },
        { Shape("--context", "2000"), ["--context", "2000", "2048", "1983"] },
        { Shape("--scheme", "int4"), ["--scheme", "'int4'"] },
        { Generate("--prompt", "a", "--scheme", "llm-int8,fp32"), ["--scheme", "'llm-int8,fp32'"] },
        { Generate("--prompt", "a", "--temperature", "-1"), ["--temperature", "'-1'"] },
        { Generate("--prompt", "a", "--temperature", "NaN"), ["--temperature", "'NaN'"] },
        { Generate("--prompt", "a", "--temperature", "1", "--top-p", "0"), ["--top-p", "'0'"] },
        { Generate("--prompt", "a", "--temperature", "1", "--top-p", "1.1"), ["--top-p", "'1.1'"] },
        { Generate("--prompt", "a", "--top-p", "0.5"), ["--top-p", "--temperature"] },
        { Generate("--prompt", "a", "--seed", "-1"), ["--seed", "'-1'"] },
        { Generate("--prompt", "a", "--scheme", "w8a16", "--threshold", "6"), ["--threshold", "w8a16"] },
        { ["kernels", "--spec", "LlmInt4"], ["--spec", "'LlmInt4'", "LlmInt8Elements"] },
        { ["demo", "--windows", "0"], ["--windows", "'0'"] },
        { ["demo", "--prompt", ""], ["--prompt", "empty"] },
        { ["demo", "--model", Empty], [Empty, "text.txt"] },
    };

    [Theory]
    [MemberData(nameof(Commands))]
    public void A_command_line_that_cannot_be_used_is_refused_by_name(string[] args, string[] named)
    {
        DirectoryInfo empty = Directory.CreateTempSubdirectory("kernelgen-cli-");
        try
        {
            AssertRefused(ToolRun.InProcess([.. args.Select(Fill)]), [.. named.Select(Fill)]);
        }
        finally
        {
            empty.Delete();
        }

        string Fill(string text) => text.Replace(Model, ToolRun.Model).Replace(Text, ToolRun.Text).Replace(Empty, empty.FullName);
    }

    [Theory]
    [InlineData("", "is empty")]
    [InlineData("\uFEFF", "0 tokens")]
    [InlineData("A few words.", "one window of 512")]
    public void A_text_shorter_than_one_window_is_refused(string text, string named)
    {
        using ModelCopy copy = new();
        string file = copy.Write("short.txt", text);
        AssertRefused(ToolRun.InProcess("eval", "--model", copy.Folder, "--text", file, "--json"), file, named);
    }

    [Theory]
    [InlineData(new byte[] { 0x61, 0x62, 0xFF, 0x63 }, "byte 2 is 0xFF")]
    [InlineData(new byte[] { 0xEF, 0xBB, 0xBF, 0x61, 0xC3 }, "byte 4 is 0xC3")]
    [InlineData(new byte[] { 0xFF, 0xFE, 0x61, 0x00 }, "byte 0 is 0xFF")]
    public void A_text_that_is_not_UTF8_is_refused_with_its_first_wrong_byte(byte[] content, string named)
    {
        using ModelCopy copy = new();
        string file = copy.Write("text.txt", content);
        AssertRefused(ToolRun.InProcess("eval", "--model", copy.Folder, "--text", file), "--text", file, "UTF-8", named);
    }

    [Fact]
    public void An_unknown_architecture_is_refused()
    {
        using ModelCopy copy = new();
        copy.Write("config.json", File.ReadAllText(copy.At("config.json")).Replace("\"opt\"", "\"mamba\"").Replace("OPTForCausalLM", "MambaForCausalLM"));
        AssertRefused(ToolRun.InProcess("generate", "--model", copy.Folder, "--prompt", "a"), "config.json", "mamba");
    }

    [Fact]
    public void A_truncated_checkpoint_is_refused()
    {
        using ModelCopy copy = new();
        copy.Write("model.safetensors", File.ReadAllBytes(copy.At("model.safetensors"))[..1_000_000]);
        AssertRefused(ToolRun.InProcess("generate", "--model", copy.Folder, "--prompt", "a"), copy.At("model.safetensors"));
    }

    [Fact]
    public void A_missing_shard_is_refused()
    {
        using ModelCopy copy = new();
        File.Delete(copy.At("model.safetensors"));
        copy.Write("model.safetensors.index.json", """{"weight_map": {"model.decoder.embed_tokens.weight": "model-00001-of-00002.safetensors"}}""");
        AssertRefused(ToolRun.InProcess("generate", "--model", copy.Folder, "--prompt", "a"), "model.safetensors.index.json", "model-00001-of-00002.safetensors");
    }

    [Fact]
    public void A_missing_tokenizer_is_refused_where_there_is_a_text_to_encode()
    {
        using ModelCopy copy = new();
        File.Delete(copy.At("tokenizer.json"));
        AssertRefused(ToolRun.InProcess("generate", "--model", copy.Folder, "--prompt", "a"), "tokenizer.json");
        AssertRefused(ToolRun.InProcess("eval", "--model", copy.Folder, "--text", ToolRun.Text), "tokenizer.json");
    }

    [Fact]
    public void A_damaged_tokenizer_is_refused()
    {
        using ModelCopy copy = new();
        copy.Write("tokenizer.json", "{");
        AssertRefused(ToolRun.InProcess("generate", "--model", copy.Folder, "--prompt", "a"), copy.At("tokenizer.json"));
    }

    [Fact]
    public void A_weight_that_is_not_a_number_is_refused_by_int8_with_its_tensor()
    {
        const string Tensor = "model.decoder.layers.3.fc1.weight";
        using ModelCopy copy = new();
        copy.Poison(Tensor);
        AssertRefused(
            ToolRun.InProcess("eval", "--model", copy.Folder, "--text", ToolRun.Text, "--windows", "1", "--scheme", "llm-int8", "--json"),
            copy.At("model.safetensors"),
            Tensor);
    }

    [Fact]
    public void A_model_that_computes_no_numbers_cannot_generate()
    {
        using ModelCopy copy = new();
        copy.Poison("model.decoder.final_layer_norm.weight");
        AssertRefused(ToolRun.InProcess("generate", "--model", copy.Folder, "--prompt", "a", "--json"), "--model", "NaN");
    }

    [Fact]
    public void A_model_without_a_perplexity_is_refused_behind_the_table()
    {
        using ModelCopy copy = new();
        copy.Poison("model.decoder.final_layer_norm.weight");
        ToolRun run = ToolRun.InProcess("eval", "--model", copy.Folder, "--text", ToolRun.Text, "--windows", "1", "--scheme", "fp32,llm-int8");
        Assert.Equal(ExitCodes.BadInput, run.ExitCode);
        Assert.Contains("llm-int8", run.Output, StringComparison.Ordinal);
        Assert.StartsWith($"kernelgen: --model: '{copy.Folder}' has no perplexity by fp32", run.Error[run.Error.IndexOf("kernelgen:", StringComparison.Ordinal)..], StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_unknown_is_all_that_is_said()
    {
        Assert.Equal("kernelgen: Unrecognized command or argument 'foo'.\n'kernelgen --help' shows what it takes.\n", ToolRun.InProcess("foo").Error);
        Assert.EndsWith("'kernelgen tuning show --help' shows what it takes.\n", ToolRun.InProcess("tuning", "show").Error, StringComparison.Ordinal);
    }

    [SkippableFact]
    public void A_pipe_is_not_waited_for()
    {
        Skip.If(OperatingSystem.IsWindows(), "Windows has no pipes in folders.");
        string folder = Directory.CreateTempSubdirectory("kernelgen-pipe-").FullName, pipe = Path.Combine(folder, "pipe");
        try
        {
            using (System.Diagnostics.Process make = System.Diagnostics.Process.Start("mkfifo", [pipe]))
            {
                make.WaitForExit();
            }

            AssertRefused(ToolRun.InProcess("eval", "--model", ToolRun.Model, "--text", pipe, "--json"), "--text", pipe, "pipe");
            AssertRefused(ToolRun.InProcess("tuning", "import", pipe), pipe, "pipe");
            AssertRefused(ToolRun.InProcess("bench", "--shapes", "1x64x64", "--against", pipe), "--against", pipe, "pipe");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string[] Eval(params string[] options) => ["eval", "--model", Model, "--text", Text, .. options];

    private static string[] Shape(params string[] more) => ["bench-model", "--shape", "opt-6.7b", "--random-weights", .. more];

    private static string[] Generate(params string[] options) => ["generate", "--model", Model, .. options];

    private static void AssertRefused(ToolRun run, params string[] named)
    {
        Assert.Equal(ExitCodes.BadInput, run.ExitCode);
        Assert.Equal("", run.Output.Trim());
        Assert.StartsWith("kernelgen: ", run.Error, StringComparison.Ordinal);
        foreach (string name in named)
        {
            Assert.Contains(name, run.Error, StringComparison.Ordinal);
        }

        // Nothing that only a programmer of the tool can use.
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Exception", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("(Parameter", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Actual value", run.Error, StringComparison.Ordinal);
    }
}
