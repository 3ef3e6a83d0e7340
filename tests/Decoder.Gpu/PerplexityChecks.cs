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
/// is what outliers are taken care of in: elsewhere a rounding that falls the other way moves the processor's own figure by a tenth of a percent.
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
        }
    }

    private void Compare(string name, int[] tokens, QuantizationScheme scheme, float? threshold)
    {
        PerplexityOptions options = new() { Windows = 16 };
        QuantizationScheme onProcessor = scheme == QuantizationScheme.Float16 ? QuantizationScheme.Parse("fp32") : scheme;
        LinearLayerFactory factory = onProcessor.CreateFactory(threshold);
        double single = OnProcessor(name, tokens, options, factory), half = OnProcessor(name, tokens, options, source => new HalfActivations(factory(source)));
        using DeviceModel model = suite.Load(
            name, scheme, DeviceModel.OptionsForEvaluation(ModelFamilies.Describe(ConfigReader.Open(suite.Folder(name))), options, threshold));
        double got = model.Evaluate(tokens, options).Perplexity, difference = (got / half) - 1;
        suite.Expect(
            Math.Abs(difference) < Tolerance || name != Compared || (scheme != QuantizationScheme.Float16 && !scheme.UsesOutlierThreshold),
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
