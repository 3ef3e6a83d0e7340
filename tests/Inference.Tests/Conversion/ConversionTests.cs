using System.Text.Json;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using KernelGen.Kernels.Specs;
using KernelGen.Quantization;
using Xunit;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests.Conversion;

/// <summary>What a conversion writes, and that it is loaded without a change.</summary>
public sealed class ConversionTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Output => _folder.At("int8");

    public void Dispose() => _folder.Dispose();

    [SkippableTheory]
    [InlineData("opt-1.5m", 0.52)]
    [InlineData("opt-30m-outliers", 0.51)]
    public async Task Perplexity_of_the_converted_checkpoint_is_that_of_converting_while_loading(string name, double share)
    {
        ConversionResult result = await CheckpointConverter.ConvertAsync(Folder(name), Output, new() { ShardBytes = 10_000_000 });

        // An absmax of four bytes per row: 3 % of rows of 128 weights.
        Assert.InRange(result.LinearOutputBytes, result.LinearSourceBytes / 2, (long)(share * result.LinearSourceBytes));
        foreach (string scheme in (string[])["llm-int8-dequantized-outliers", "absmax-vector", "zeropoint-vector", "w8a16"])
        {
            Assert.Equal(Evaluate(Folder(name), name, scheme), Evaluate(Output, name, scheme));
        }

        // No originals are stored: all of these dequantize.
        Assert.Equal(Evaluate(Output, name, "llm-int8-dequantized-outliers"), Evaluate(Output, name, "llm-int8"));
        Assert.Equal(Evaluate(Output, name, "w8a16"), Evaluate(Output, name, "fp32"));
    }

    [SkippableTheory]
    [InlineData("opt-pre-ln")]
    [InlineData("opt-post-ln-projected")]
    [InlineData("bloom")]
    [InlineData("gpt2")]
    [InlineData("gpt-neox")]
    [InlineData("llama-gqa")]
    public async Task Every_family_gives_the_same_bits_converted_before_and_while_loading(string family)
    {
        string source = Folder("families/" + family);
        int blocks = 0;
        foreach (long memory in (long[])[1, 256 << 20])
        {
            // In blocks of a page and whole: transposed weights are read in another way.
            string output = _folder.At($"int8-{blocks++}");
            ConversionResult result = await CheckpointConverter.ConvertAsync(source, output, new() { MemoryBytes = memory });
            Assert.Equal(0, result.SkippedLayers);
            foreach (string scheme in (string[])["llm-int8-dequantized-outliers", "absmax-vector", "w8a16"])
            {
                Assert.Equal(Hidden(source, scheme), Hidden(output, scheme));
            }
        }

        static float[] Hidden(string folder, string scheme)
        {
            using TransformerModel model = TransformerModel.Load(folder, QuantizationScheme.Parse(scheme).CreateFactory());
            return model.Forward([5, 17, 3, 40, 8], model.CreateCache(5));
        }
    }

    [Theory]
    [InlineData("absmax")]
    [InlineData("absmax-row")]
    public async Task One_scale_for_all_weights_is_kept_as_well(string scheme)
    {
        string source = Folder("opt-1.5m");
        await CheckpointConverter.ConvertAsync(source, Output, new() { Scheme = QuantizationScheme.Parse(scheme), MemoryBytes = 1 });

        Assert.Equal(Evaluate(source, "opt-1.5m", scheme), Evaluate(Output, "opt-1.5m", scheme));
        using Checkpoint checkpoint = Checkpoint.Open(Output);
        Assert.Single(checkpoint.ReadSingles(FirstLayer(checkpoint) + ".SCB").Distinct());
    }

    [Fact]
    public async Task A_scale_per_row_is_refused_where_the_scheme_has_one()
    {
        await CheckpointConverter.ConvertAsync(Folder("opt-1.5m"), Output);

        string message = Assert.Throws<CheckpointException>(() => TransformerModel.Load(Output, QuantizationScheme.Parse("absmax").CreateFactory())).Message;
        Assert.Contains("a scale per row", message);
        Assert.Contains("model.safetensors", message);
    }

    [Fact]
    public async Task Fixed_outlier_columns_keep_their_16_bit_weights()
    {
        string source = Folder("opt-1.5m");
        using Checkpoint original = Checkpoint.Open(source);
        string layer = FirstLayer(original), other = layer.Replace("layers.0", "layers.1", StringComparison.Ordinal);
        FixedOutlierSet outliers = FixedOutlierSet.Load(_folder.Write("outliers.json", $$"""{ "{{layer}}": [17, 3], "{{other}}": [] }"""));
        await CheckpointConverter.ConvertAsync(source, Output, new() { FixedOutliers = outliers, MemoryBytes = 1 });

        using Checkpoint converted = Checkpoint.Open(Output);
        int n = (int)original.Get(layer + ".weight").Info.Shape[0], k = (int)original.Get(layer + ".weight").Info.Shape[1];
        float[] weights = original.ReadSingles(layer + ".weight");
        Assert.Equal([3, 17], converted.Get(layer + ".kernelgen_outlier_columns").Span<int>().ToArray());
        Assert.Equal(TensorType.F16, converted.Get(layer + ".kernelgen_outlier_weights").Info.Type);
        Assert.Equal(
            [.. Enumerable.Range(0, n).Select(row => weights[(row * k) + 3]), .. Enumerable.Range(0, n).Select(row => weights[(row * k) + 17])],
            converted.ReadSingles(layer + ".kernelgen_outlier_weights", 2, n));
        Assert.Equal($"[0, {n}]", converted.Get(other + ".kernelgen_outlier_weights").Info.ShapeText);
        LinearLayerFactory onTheFly = Int8Linear.Factory(LlmInt8Fixed.Kernels, OutlierWeights.Original, fixedOutliers: outliers);
        Assert.Equal(Evaluate(source, "opt-1.5m", onTheFly), Evaluate(Output, "opt-1.5m", "llm-int8-fixed"));

        Assert.Contains("--fixed-outliers", Assert.Throws<CheckpointException>(() => Evaluate(source, "opt-1.5m", "llm-int8-fixed")).Message);
    }

    [Theory]
    [InlineData(TensorType.F32)]
    [InlineData(TensorType.F16)]
    [InlineData(TensorType.BF16)]
    public async Task Layers_become_what_bitsandbytes_stores_and_everything_else_stays(TensorType type)
    {
        string source = TinyOpt.Write(_folder, type: type);
        await CheckpointConverter.ConvertAsync(source, Output, new() { MemoryBytes = 1 });

        using Checkpoint original = Checkpoint.Open(source), converted = Checkpoint.Open(Output);
        Assert.Equal(original.Tensors.Count + (2 * TinyOpt.Linear.Count()), converted.Tensors.Count);
        foreach ((string name, TensorInfo info) in original.Tensors)
        {
            TensorInfo now = converted.Tensors[name];
            Assert.Equal(info.ShapeText, now.ShapeText);
            if (!TinyOpt.Linear.Contains(name.Replace(".weight", "", StringComparison.Ordinal)))
            {
                Assert.Equal(info.Type, now.Type);
                Assert.True(original.Get(name).Span<byte>().SequenceEqual(converted.Get(name).Span<byte>()));
            }
        }

        foreach (string layer in TinyOpt.Linear)
        {
            MappedTensor weight = converted.Get(layer + ".weight");
            float[] absmax = converted.ReadSingles(layer + ".SCB", weight.Info.Shape[0]), values = original.ReadSingles(layer + ".weight");
            Assert.Equal(TensorType.F32, converted.Tensors[layer + ".SCB"].Type);
            Assert.Equal((TensorType.U8, 0), (converted.Tensors[layer + ".weight_format"].Type, converted.Tensors[layer + ".weight_format"].Shape.Length));
            Assert.Equal([0], converted.Get(layer + ".weight_format").Span<byte>().ToArray());
            int k = (int)weight.Info.Shape[1];
            for (int row = 0; row < absmax.Length; row++)
            {
                float[] source32 = values[(row * k)..((row + 1) * k)];
                (_, float scale) = AbsmaxScaling.Symmetric(source32.Max(Math.Abs));
                Assert.Equal(source32.Max(Math.Abs), absmax[row]);
                Assert.Equal([.. source32.Select(value => (sbyte)MathF.Round(value * scale))], weight.Span<sbyte>().Slice(row * k, k).ToArray());
            }
        }
    }

    [Fact]
    public async Task The_config_gets_what_transformers_writes_for_load_in_8bit()
    {
        await CheckpointConverter.ConvertAsync(TinyOpt.Write(_folder), Output, new() { OutlierThreshold = 5 });

        JsonElement config = JsonDocument.Parse(File.ReadAllText(Path.Combine(Output, "config.json"))).RootElement;
        Assert.Equal("opt", config.GetProperty("model_type").GetString());
        string[] lines = [.. config.GetProperty("quantization_config").EnumerateObject().Select(static property => $"{property.Name}: {property.Value.GetRawText()}")];
        Assert.Equal(
            [
                "_load_in_4bit: false", "_load_in_8bit: true", "bnb_4bit_compute_dtype: \"float32\"", "bnb_4bit_quant_storage: \"uint8\"",
                "bnb_4bit_quant_type: \"fp4\"", "bnb_4bit_use_double_quant: false", "llm_int8_enable_fp32_cpu_offload: false",
                "llm_int8_has_fp16_weight: false", "llm_int8_skip_modules: null", "llm_int8_threshold: 5.0", "load_in_4bit: false",
                "load_in_8bit: true", "quant_method: \"bitsandbytes\"",
            ],
            lines);
        Assert.Equal(["config.json", "model.safetensors", "tokenizer.json"], Names(Output));
        Assert.False(Directory.Exists(Output + ".partial"));
    }

    [Theory]
    [InlineData("fc2")]
    [InlineData("model.decoder.layers.1")]
    [InlineData("model.decoder.layers.0.self_attn.q_proj,fc1")]
    public async Task Modules_to_skip_stay_and_are_listed(string skip)
    {
        ConversionResult result = await CheckpointConverter.ConvertAsync(TinyOpt.Write(_folder), Output, new() { SkipModules = skip.Split(',') });

        using Checkpoint converted = Checkpoint.Open(Output);
        string[] skipped = [.. TinyOpt.Linear.Where(layer => converted.Tensors[layer + ".weight"].Type == TensorType.F16)];
        Assert.Equal(result.SkippedLayers, skipped.Length);
        Assert.Equal(
            [.. TinyOpt.Linear.Where(layer => skip.Split(',').Any(name => layer == name || layer.EndsWith("." + name, StringComparison.Ordinal) || layer.StartsWith(name + ".", StringComparison.Ordinal)))],
            skipped);
        JsonElement config = JsonDocument.Parse(File.ReadAllText(Path.Combine(Output, "config.json"))).RootElement;
        Assert.Equal(
            ["lm_head", .. skipped],
            config.GetProperty("quantization_config").GetProperty("llm_int8_skip_modules").EnumerateArray().Select(static name => name.GetString()!).ToArray());
        using TransformerModel model = TransformerModel.Load(Output, QuantizationScheme.Parse("llm-int8").CreateFactory());
        Assert.Equal(TinyOpt.Hidden, model.Forward([1], model.CreateCache(1)).Length);
    }

    [Fact]
    public async Task Shards_and_their_index_hold_the_same_tensors_as_one_file()
    {
        string source = TinyOpt.Write(_folder);
        await CheckpointConverter.ConvertAsync(source, Output);
        ConversionResult result = await CheckpointConverter.ConvertAsync(source, _folder.At("sharded"), new() { ShardBytes = 500 });

        Assert.True(result.Shards > 3);
        JsonElement index = JsonDocument.Parse(File.ReadAllText(_folder.At("sharded/model.safetensors.index.json"))).RootElement;
        Assert.Equal(result.OutputBytes, index.GetProperty("metadata").GetProperty("total_size").GetInt64());
        Assert.Contains($"model-00001-of-{result.Shards:D5}.safetensors", Names(_folder.At("sharded")));
        using Checkpoint one = Checkpoint.Open(Output), many = Checkpoint.Open(_folder.At("sharded"));
        Assert.Equal(one.Tensors.Keys.Order(), many.Tensors.Keys.Order());
        Assert.Equal(result.OutputBytes, many.Tensors.Values.Sum(static tensor => tensor.ByteLength));
        Assert.All(one.Tensors.Keys, name => Assert.True(one.Get(name).Span<byte>().SequenceEqual(many.Get(name).Span<byte>())));
    }

    [Fact]
    public async Task Progress_ends_at_the_whole()
    {
        Recorder recorder = new();
        await CheckpointConverter.ConvertAsync(Folder("opt-1.5m"), Output, progress: recorder);

        Assert.Equal(recorder.Last.BytesTotal, recorder.Last.BytesDone);
        Assert.True(recorder.Last.BytesPerSecond > 0);
        Assert.Equal(TimeSpan.Zero, recorder.Last.TimeLeft);
    }

    private static string FirstLayer(Checkpoint checkpoint) => checkpoint.Tensors.Keys.First(static name => name.EndsWith("layers.0.fc1.weight", StringComparison.Ordinal))[..^".weight".Length];

    private static IEnumerable<string> Names(string folder) => Directory.GetFiles(folder).Select(static path => Path.GetFileName(path)).Order();

    private static double Evaluate(string folder, string text, string scheme) => Evaluate(folder, text, QuantizationScheme.Parse(scheme).CreateFactory());

    private static double Evaluate(string folder, string text, LinearLayerFactory factory)
    {
        using TransformerModel model = TransformerModel.Load(folder, factory);
        return Perplexity.Evaluate(model, TextTokens(text), new() { Windows = 2, WindowLength = 256 }).Perplexity;
    }

    private sealed class Recorder : IProgress<ConversionProgress>
    {
        public ConversionProgress Last { get; private set; }

        public void Report(ConversionProgress value) => Last = value;
    }
}
