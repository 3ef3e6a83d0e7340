using KernelGen.Inference.Devices;
using KernelGen.Inference.Transformers;
using KernelGen.Kernels.Specs;

namespace KernelGen.Inference.Quantization;

/// <summary>A named way to store and multiply a model's linear layers. Immutable: any thread may use it.</summary>
public sealed class QuantizationScheme
{
    private readonly Func<float?, int, FixedOutlierSet?, LinearLayerFactory> _factory;

    private QuantizationScheme(string name, string description, Func<float?, int, FixedOutlierSet?, LinearLayerFactory> factory)
    {
        Name = name;
        Description = description;
        _factory = factory;
    }

    /// <summary>Every scheme that takes any checkpoint, from the reference to LLM.int8().</summary>
    public static IReadOnlyList<QuantizationScheme> All { get; } =
    [
        new("fp32", "float32 arithmetic on the checkpoint's own weights", (_, threads, _) => FloatLinear.Factory(threads)) { WeightGranularity = null },
        Int8("absmax", "one scale for the activations, one for the weights", Absmax.Kernels),
        Int8("absmax-row", "a scale per row of activations, one for the weights", AbsmaxRow.Kernels),
        Int8("absmax-vector", "a scale per row of activations and per output feature", AbsmaxVector.Kernels),
        Int8("zeropoint-vector", "absmax-vector with a zero-point per row of activations", ZeroPointVector.Kernels),
        new("w8a16", "int8 weights, float activations", (_, threads, _) => WeightOnlyInt8Linear.Factory(threads)) { OnCuda = new DeviceScheme(null, true, false) },
        Int8("llm-int8", "LLM.int8(): outlier columns in 16 bits, the rest absmax-vector", LlmInt8.Kernels, OutlierWeights.Original),
        Int8("llm-int8-elements", "LLM.int8() with outliers decided per row: no row depends on another", LlmInt8Elements.Kernels, OutlierWeights.Original),
        Int8("llm-int8-dequantized-outliers", "LLM.int8() without 16-bit weights for outlier columns, as bitsandbytes", LlmInt8.Kernels),
    ];

    /// <summary>LLM.int8() with calibrated outlier columns: those of a set that is given, or that a checkpoint was converted with. Without either it refuses.</summary>
    public static QuantizationScheme Fixed { get; } =
        Int8("llm-int8-fixed", "LLM.int8() with calibrated outlier columns, given or stored in the checkpoint", LlmInt8Fixed.Kernels, OutlierWeights.Original);

    /// <summary>16-bit weights and activations, which GPUs alone multiply: what int8 is compared with there.</summary>
    public static QuantizationScheme Float16 { get; } = new(
        "fp16",
        "16-bit weights and activations, on a GPU",
        (_, _, _) => throw new ArgumentException("The scheme 'fp16' runs on a GPU only; on the processor, use fp32, which keeps 16-bit weights in 16 bits."))
    {
        WeightGranularity = null,
        OnCuda = new DeviceScheme(null, false, false),
    };

    /// <summary>Every scheme that a GPU can run, from the reference to LLM.int8().</summary>
    public static IReadOnlyList<QuantizationScheme> OnDevices { get; } = [Float16, .. All.Where(static scheme => scheme.RunsOnCuda)];

    /// <summary>The scheme's name, as the command line takes it.</summary>
    public string Name { get; }

    /// <summary>What it does, in a few words.</summary>
    public string Description { get; }

    /// <summary>Whether it treats activations from a threshold on apart.</summary>
    public bool UsesOutlierThreshold { get; private init; }

    /// <summary>What shares a scale among the stored weights; null where they are not stored in int8.</summary>
    internal QuantizationGranularity? WeightGranularity { get; private init; } = QuantizationGranularity.Vector;

    /// <summary>The threshold to record for readers that take outliers apart by one; 0 where the scheme leaves none apart.</summary>
    internal float RecordedThreshold { get; private init; } = Int8Spec.DefaultOutlierThreshold;

    /// <summary>Finds a scheme.</summary>
    /// <param name="name">A name of <see cref="All"/>, or that of <see cref="Fixed"/> or <see cref="Float16"/>.</param>
    /// <exception cref="ArgumentException">There is no such scheme; the message lists those that there are.</exception>
    public static QuantizationScheme Parse(string name) => All.Append(Fixed).Append(Float16).FirstOrDefault(scheme => scheme.Name == name)
        ?? throw new ArgumentException($"There is no scheme '{name}'; use one of {string.Join(", ", All.Append(Fixed).Append(Float16).Select(scheme => scheme.Name))}.");

    /// <summary>Makes a model's linear layers by this scheme.</summary>
    /// <param name="outlierThreshold">The outlier threshold, positive; null for the scheme's own. Schemes without outliers ignore it.</param>
    /// <param name="maxDegreeOfParallelism">Most threads that a layer uses; -1 for one per processor.</param>
    /// <param name="fixedOutliers">The columns for <see cref="Fixed"/>, which the other schemes ignore; null for those stored in the checkpoint.</param>
    public LinearLayerFactory CreateFactory(
        float? outlierThreshold = null, int maxDegreeOfParallelism = -1, FixedOutlierSet? fixedOutliers = null) =>
        _factory(outlierThreshold, maxDegreeOfParallelism, fixedOutliers);

    /// <summary>Whether a GPU can run models by this scheme: see <see cref="DeviceModel"/>.</summary>
    public bool RunsOnCuda => OnCuda is not null;

    /// <summary>Whether the processor can.</summary>
    public bool RunsOnCpu => this != Float16;

    /// <summary>How a GPU holds and multiplies the matrices; null where it cannot.</summary>
    internal DeviceScheme? OnCuda { get; private init; }

    /// <summary>Refuses a scheme that a GPU cannot run.</summary>
    internal DeviceScheme RequireCuda() => OnCuda ?? throw new ArgumentException(
        $"The scheme '{Name}' does not run on a GPU; use one of {string.Join(", ", OnDevices.Select(static scheme => scheme.Name))}.");

    private static QuantizationScheme Int8(
        string name, string description, Int8KernelSet kernels, OutlierWeights outlierWeights = OutlierWeights.Dequantized) =>
        new(name, description, (threshold, threads, outliers) => Int8Linear.Factory(kernels, outlierWeights, threshold, threads, outliers))
        {
            OnCuda = kernels.CudaVariants.Count > 0
                ? new DeviceScheme(kernels, true, outlierWeights == OutlierWeights.Original && kernels.Spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements)
                : null,
            UsesOutlierThreshold = kernels.Spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements,
            WeightGranularity = kernels.Spec.Granularity,
            RecordedThreshold = kernels.Spec.Outliers == OutlierPolicy.None ? 0 : kernels.Spec.OutlierThreshold,
        };
}
