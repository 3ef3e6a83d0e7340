using KernelGen;

namespace CustomSpec;

/// <summary>A linear layer with the kernels of <see cref="RowKernels"/>. Any number of threads may use it at once.</summary>
public sealed class QuantizedLayer : IDisposable
{
    private static readonly MatMulOptions Relu = new() { Activation = Activation.Relu };

    private readonly Int8Weights _weights;
    private readonly float[] _bias;

    /// <param name="weights">[outputFeatures, inputFeatures].</param>
    /// <param name="bias">[outputFeatures].</param>
    /// <param name="inputFeatures">K.</param>
    public QuantizedLayer(float[] weights, float[] bias, int inputFeatures)
    {
        ArgumentNullException.ThrowIfNull(bias);
        _weights = RowKernels.Kernels.Quantize<float>(weights, bias.Length, inputFeatures);
        _bias = bias;
    }

    /// <summary><c>max(0, input * weights^T + bias)</c>, [rows, outputFeatures].</summary>
    public float[] Forward(ReadOnlySpan<float> input, int rows)
    {
        float[] result = new float[rows * _bias.Length];
        RowKernels.Kernels.MatMul(input, rows, _weights, result.AsSpan(), _bias, Relu);
        return result;
    }

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();
}
