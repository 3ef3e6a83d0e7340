using KernelGen.Backends.Cpu;

namespace KernelGen.Inference.Transformers;

/// <summary>A linear layer in float32 arithmetic, whose weights stay in memory in the type that the checkpoint stores.</summary>
public sealed class FloatLinear : LinearLayer
{
    private readonly PackedFloatWeights _weights;
    private readonly float[]? _bias;
    private readonly int _maxDegreeOfParallelism;

    internal FloatLinear(PackedFloatWeights weights, float[]? bias, int maxDegreeOfParallelism)
        : base(weights.InputFeatures, weights.OutputFeatures)
    {
        _weights = weights;
        _bias = bias;
        _maxDegreeOfParallelism = maxDegreeOfParallelism;
    }

    /// <inheritdoc/>
    public override long Bytes => _weights.Bytes + ((_bias?.Length ?? 0) * sizeof(float));

    /// <summary>A factory of such layers: the scheme <c>fp32</c>. Of an int8 checkpoint it multiplies with the dequantized weights.</summary>
    /// <param name="maxDegreeOfParallelism">Most threads that a layer uses; -1 for one per processor.</param>
    public static LinearLayerFactory Factory(int maxDegreeOfParallelism = -1) =>
        source => new FloatLinear(WeightTensor.Pack(source), source.Bias, maxDegreeOfParallelism);

    /// <inheritdoc/>
    public override void Forward(ReadOnlySpan<float> input, int rows, Span<float> output) =>
        FloatGemm.Multiply(input, rows, _weights, _bias, output, _maxDegreeOfParallelism);

    /// <inheritdoc/>
    public override void Dispose() => _weights.Dispose();
}
