using System.Numerics.Tensors;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Decoder.Gpu;

/// <summary>
/// Perplexity on the device beside the processor's, by the same scheme, with activations that are float16 as on the device, and float32. What must agree
/// is what outliers are taken care of in, or leaves activations in 16 bits: elsewhere a rounding that falls the other way moves the processor's own figure by a tenth of a percent.
/// </summary>
internal sealed class PerplexityChecks(DecoderSuite suite)
{
    private const double Tolerance = 0.0005;

    /// <summary>The model that has systematic outlier features.</summary>
    private const string Compared = "opt-30m-outliers";

    public void Run()
    {
        foreach (string name in suite.Trained)
        {
            int[] tokens = Tokenizer.Load(suite.Folder(name)).Encode(File.ReadAllText(Path.Combine(suite.Folder(name), "text.txt")));
            foreach (QuantizationScheme scheme in QuantizationScheme.OnDevices)
            {
                Compare(name, tokens, scheme, null);
            }

            Compare(name, tokens, QuantizationScheme.Parse("llm-int8-elements"), 3);
            foreach (string scheme in (string[])["fp16", "w8a16", "llm-int8-elements"])
            {
                Int8Cache(name, tokens, QuantizationScheme.Parse(scheme));
            }
        }
    }

    /// <summary>What an int8 cache costs: windows whole, and with half of each window in the cache when the rest comes.</summary>
    private void Int8Cache(string name, int[] tokens, QuantizationScheme scheme)
    {
        PerplexityOptions options = new() { Windows = 16 };
        DeviceOptions device = DeviceModel.OptionsForEvaluation(ModelFamilies.Describe(ConfigReader.Open(suite.Folder(name))), options);
        using DeviceModel half = suite.Load(name, scheme, device), int8 = suite.Load(name, scheme, device with { Cache = CacheFormat.Int8 });
        double with = int8.Evaluate(tokens, options).Perplexity, without = half.Evaluate(tokens, options).Perplexity;

        // A prompt in chunks finds its past in the int8 cache, in one it is widened: the same tokens follow.
        DeviceOptions chunks = new() { MaxBatch = 1, MaxContext = 256, Cache = CacheFormat.Int8 };
        int[][] texts = [.. new[] { 200, 48 }.Select(chunk =>
        {
            using DeviceModel model = suite.Load(name, scheme, chunks with { PrefillChunk = chunk });
            return new Serving.SteppedTexts(model, [tokens[..150]], 256).Generate(24)[0];
        })];
        suite.Expect(
            Math.Abs((with / without) - 1) < 0.005 && texts[0].AsSpan().SequenceEqual(texts[1]),
            $"{name} {scheme.Name}: perplexity {with:0.000000} with an int8 cache, {without:0.000000} with float16 ({100 * ((with / without) - 1):+0.0000;-0.0000} %); the same 24 tokens after a prompt whole and in chunks");
    }

    private void Compare(string name, int[] tokens, QuantizationScheme scheme, float? threshold)
    {
        PerplexityOptions options = new() { Windows = name == Compared ? 160 : 16 };
        QuantizationScheme onProcessor = scheme == QuantizationScheme.Float16 ? QuantizationScheme.Parse("fp32") : scheme;
        LinearLayerFactory factory = onProcessor.CreateFactory(threshold);
        double single = OnProcessor(name, tokens, options, factory), half = OnProcessor(name, tokens, options, source => new HalfActivations(factory(source)));
        using DeviceModel model = suite.Load(
            name, scheme, DeviceModel.OptionsForEvaluation(ModelFamilies.Describe(ConfigReader.Open(suite.Folder(name))), options, threshold));
        double got = model.Evaluate(tokens, options).Perplexity, difference = (got / half) - 1;
        suite.Expect(
            Math.Abs(difference) < Tolerance || name != Compared || (scheme.RequireCuda().Kernels is not null && !scheme.UsesOutlierThreshold),
            $"{name} {scheme.Name}{(threshold is null ? "" : $" --threshold {threshold}")}: perplexity {got:0.000000} on the device; on the processor {half:0.000000} with float16 activations ({100 * difference:+0.0000;-0.0000} %), {single:0.000000} with float32 ({100 * ((got / single) - 1):+0.0000;-0.0000} %)");
    }

    private double OnProcessor(string name, int[] tokens, PerplexityOptions options, LinearLayerFactory factory)
    {
        using TransformerModel model = TransformerModel.Load(suite.Folder(name), factory);
        return Perplexity.Evaluate(model, tokens, options).Perplexity;
    }

    /// <summary>A layer on the processor whose activations are rounded to float16 where the device's are: before and after it.</summary>
    private sealed class HalfActivations(LinearLayer layer) : LinearLayer(layer.InputFeatures, layer.OutputFeatures)
    {
        public override long Bytes => layer.Bytes;

        public override void Forward(ReadOnlySpan<float> input, int rows, Span<float> output)
        {
            float[] rounded = input.ToArray();
            Round(rounded);
            layer.Forward(rounded, rows, output);
            Round(output);
        }

        public override void Dispose() => layer.Dispose();

        private static void Round(Span<float> values)
        {
            Half[] halves = new Half[values.Length];
            TensorPrimitives.ConvertToHalf(values, halves);
            TensorPrimitives.ConvertToSingle(halves, values);
        }
    }
}
