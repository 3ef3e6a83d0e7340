using KernelGen.Inference.Devices;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Decoder.Gpu;

/// <summary>Perplexity on the device beside the processor's, whose activations are float32.</summary>
internal sealed class PerplexityChecks(DecoderSuite suite)
{
    private const double Tolerance = 0.0005;

    public void Run()
    {
        foreach (string name in (string[])["opt-1.5m", "opt-30m-outliers"])
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
        using TransformerModel reference = TransformerModel.Load(suite.Folder(name), onProcessor.CreateFactory(threshold));
        double expected = Perplexity.Evaluate(reference, tokens, options).Perplexity;
        using DeviceModel model = suite.Load(name, scheme, DeviceModel.OptionsForEvaluation(reference.Description, options, threshold));
        double got = model.Evaluate(tokens, options).Perplexity, difference = (got / expected) - 1;
        suite.Expect(
            Math.Abs(difference) < Tolerance,
            $"{name} {scheme.Name}{(threshold is null ? "" : $" --threshold {threshold}")}: perplexity {got:0.000000} on the device, {expected:0.000000} on the processor, {100 * difference:+0.0000;-0.0000} %");
    }
}
