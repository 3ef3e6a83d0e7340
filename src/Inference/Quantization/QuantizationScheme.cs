using KernelGen.Inference.Transformers;
using KernelGen.Kernels.Specs;

namespace KernelGen.Inference.Quantization;

/// <summary>A named way to store and multiply a model's linear layers.</summary>
public sealed class QuantizationScheme
{
    private readonly Func<float?, int, LinearLayerFactory> _factory;

    private QuantizationScheme(string name, string description, Func<float?, int, LinearLayerFactory> factory, bool usesOutlierThreshold = false)
    {
        Name = name;
        Description = description;
        UsesOutlierThreshold = usesOutlierThreshold;
        _factory = factory;
    }

    /// <summary>Every scheme, from the reference to LLM.int8().</summary>
    public static IReadOnlyList<QuantizationScheme> All { get; } =
    [
        new("fp32", "float32 arithmetic on the checkpoint's own weights", (_, threads) => FloatLinear.Factory(threads)),
        Int8("absmax", "one scale for the activations, one for the weights", Absmax.Kernels),
        Int8("absmax-row", "a scale per row of activations, one for the weights", AbsmaxRow.Kernels),
        Int8("absmax-vector", "a scale per row of activations and per output feature", AbsmaxVector.Kernels),
        Int8("zeropoint-vector", "absmax-vector with a zero-point per row of activations", ZeroPointVector.Kernels),
        new("w8a16", "int8 weights, float activations", (_, threads) => WeightOnlyInt8Linear.Factory(threads)),
        Int8("llm-int8", "LLM.int8(): outlier columns in 16 bits, the rest absmax-vector", LlmInt8.Kernels, OutlierWeights.Original),
        Int8("llm-int8-elements", "LLM.int8() with outliers decided per row: no row depends on another", LlmInt8Elements.Kernels, OutlierWeights.Original),
        Int8("llm-int8-dequantized-outliers", "LLM.int8() without 16-bit weights for outlier columns, as bitsandbytes", LlmInt8.Kernels),
    ];

    /// <summary>The scheme's name, as the command line takes it.</summary>
    public string Name { get; }

    /// <summary>What it does, in a few words.</summary>
    public string Description { get; }

    /// <summary>Whether it treats activations from a threshold on apart.</summary>
    public bool UsesOutlierThreshold { get; }

    /// <summary>Finds a scheme.</summary>
    /// <param name="name">A name of <see cref="All"/>.</param>
    /// <exception cref="ArgumentException">There is no such scheme; the message lists those that there are.</exception>
    public static QuantizationScheme Parse(string name) => All.FirstOrDefault(scheme => scheme.Name == name)
        ?? throw new ArgumentException($"There is no scheme '{name}'; use one of {string.Join(", ", All.Select(scheme => scheme.Name))}.");

    /// <summary>Makes a model's linear layers by this scheme.</summary>
    /// <param name="outlierThreshold">The outlier threshold, positive; null for the scheme's own. Schemes without outliers ignore it.</param>
    /// <param name="maxDegreeOfParallelism">Most threads that a layer uses; -1 for one per processor.</param>
    public LinearLayerFactory CreateFactory(float? outlierThreshold = null, int maxDegreeOfParallelism = -1) =>
        _factory(outlierThreshold, maxDegreeOfParallelism);

    private static QuantizationScheme Int8(
        string name, string description, Int8KernelSet kernels, OutlierWeights outlierWeights = OutlierWeights.Dequantized) =>
        new(
            name,
            description,
            (threshold, threads) => Int8Linear.Factory(kernels, outlierWeights, threshold, threads),
            kernels.Spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements);
}
