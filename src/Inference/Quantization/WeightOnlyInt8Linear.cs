using KernelGen.Backends.Cpu;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using KernelGen.Kernels.Specs;
using KernelGen.Quantization;

namespace KernelGen.Inference.Quantization;

/// <summary>
/// A linear layer with int8 weights, one absmax per output feature, under float32 activations: the scheme <c>w8a16</c>. Half the memory
/// of 16-bit weights; the multiplication itself is float32.
/// </summary>
public sealed class WeightOnlyInt8Linear : LinearLayer
{
    private readonly PackedFloatWeights _weights;
    private readonly float[]? _bias;
    private readonly int _maxDegreeOfParallelism;

    private WeightOnlyInt8Linear(PackedFloatWeights weights, float[]? bias, int maxDegreeOfParallelism)
        : base(weights.InputFeatures, weights.OutputFeatures)
    {
        _weights = weights;
        _bias = bias;
        _maxDegreeOfParallelism = maxDegreeOfParallelism;
    }

    /// <inheritdoc/>
    public override long Bytes => _weights.Bytes + ((_bias?.Length ?? 0) * sizeof(float));

    /// <summary>A factory of such layers.</summary>
    /// <param name="maxDegreeOfParallelism">Most threads that a layer uses; -1 for one per processor.</param>
    /// <returns>
    /// The factory; it throws a <see cref="CheckpointException"/> that names tensor, row and column where a weight is infinite or NaN.
    /// </returns>
    public static LinearLayerFactory Factory(int maxDegreeOfParallelism = -1) => source =>
    {
        (sbyte[] quantized, float[] absmax) = UnquantizableWeights.Named(source, () => Quantize(source));
        PackedFloatWeights packed = PackedFloatWeights.Pack(quantized, absmax, source.OutputFeatures, source.InputFeatures);
        return new WeightOnlyInt8Linear(packed, source.Bias, maxDegreeOfParallelism);
    };

    /// <inheritdoc/>
    public override void Forward(ReadOnlySpan<float> input, int rows, Span<float> output) =>
        FloatGemm.Multiply(input, rows, _weights, _bias, output, _maxDegreeOfParallelism);

    /// <inheritdoc/>
    public override void Dispose() => _weights.Dispose();

    private static (sbyte[] Quantized, float[] Absmax) Quantize(LinearLayerSource source)
    {
        RowQuantizer rows = RowQuantizer.For(MappedWeightSource.Of(source), AbsmaxVector.Kernels.Spec, maxDegreeOfParallelism: 1);
        int columns = source.InputFeatures;
        sbyte[] quantized = new sbyte[checked((long)source.OutputFeatures * columns)];
        float[] absmax = new float[source.OutputFeatures];
        float[] scratch = new float[columns];
        for (int n = 0; n < absmax.Length; n++)
        {
            absmax[n] = rows.Quantize(n, scratch, quantized.AsSpan(checked(n * columns), columns));
        }

        return (quantized, absmax);
    }
}
