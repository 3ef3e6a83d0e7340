using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Quantization;

/// <summary>A linear layer that generated int8 kernels multiply.</summary>
public sealed class Int8Linear : LinearLayer
{
    private readonly Int8KernelSet _kernels;
    private readonly Int8Weights _weights;
    private readonly float[]? _bias;
    private readonly MatMulOptions _options;

    private Int8Linear(Int8KernelSet kernels, Int8Weights weights, float[]? bias, MatMulOptions options)
        : base(weights.InputFeatures, weights.OutputFeatures)
    {
        _kernels = kernels;
        _weights = weights;
        _bias = bias;
        _options = options;
    }

    /// <inheritdoc/>
    public override long Bytes => _weights.Bytes + ((_bias?.Length ?? 0) * sizeof(float));

    /// <summary>A factory of such layers.</summary>
    /// <param name="kernels">The kernels of an <see cref="Int8KernelAttribute"/> class.</param>
    /// <param name="outlierWeights">
    /// Where the weights of outlier columns come from. Originals are read from the mapped checkpoint, which costs no memory but for the
    /// columns that were outliers. An int8 checkpoint has none but those of a fixed set: the others are dequantized.
    /// </param>
    /// <param name="outlierThreshold">The outlier threshold; null for the kernels' own.</param>
    /// <param name="maxDegreeOfParallelism">Most threads that a layer uses; -1 for one per processor.</param>
    /// <param name="fixedOutliers">The set for kernels with <see cref="OutlierPolicy.Fixed"/>; null for the one that an int8 checkpoint holds.</param>
    /// <returns>
    /// The factory; it throws a <see cref="CheckpointException"/> where a weight is infinite or NaN, and a <see cref="FixedOutlierSetException"/>
    /// where the set names a column that a layer does not have.
    /// </returns>
    public static LinearLayerFactory Factory(
        Int8KernelSet kernels,
        OutlierWeights outlierWeights,
        float? outlierThreshold = null,
        int maxDegreeOfParallelism = -1,
        FixedOutlierSet? fixedOutliers = null)
    {
        ArgumentNullException.ThrowIfNull(kernels);
        MatMulOptions options = new()
        {
            OutlierThreshold = kernels.Spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements ? outlierThreshold : null,
            MaxDegreeOfParallelism = maxDegreeOfParallelism,
        };
        return source =>
        {
            Int8Weights weights = UnquantizableWeights.Named(source, () => kernels.Quantize(
                MappedWeightSource.Of(source),
                new WeightQuantizationOptions
                {
                    OutlierWeights = outlierWeights,
                    MaxDegreeOfParallelism = maxDegreeOfParallelism,
                    FixedOutlierColumns = kernels.Spec.Outliers == OutlierPolicy.Fixed ? FixedColumns(source, fixedOutliers) : null,
                }));
            return new Int8Linear(kernels, weights, source.Bias, options);
        };
    }

    /// <inheritdoc/>
    public override void Forward(ReadOnlySpan<float> input, int rows, Span<float> output) =>
        _kernels.MatMul(input, rows, _weights, output, _bias, _options);

    /// <inheritdoc/>
    public override void Dispose() => _weights.Dispose();

    private static IReadOnlyList<int> FixedColumns(LinearLayerSource source, FixedOutlierSet? fixedOutliers) =>
        fixedOutliers?.ColumnsOf(source.Name, source.InputFeatures) ?? source.Int8?.OutlierColumns ?? throw CheckpointException.For(
            source.Weight.Info.File,
            source.Weight.Info.Name,
            "the scheme needs a calibrated set of outlier columns, and the checkpoint holds none.",
            "Give one with --fixed-outliers FILE, convert the 16-bit checkpoint with 'kernelgen quantize --fixed-outliers FILE', or use another scheme.");
}
