using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Quantization;

/// <summary>
/// A GPU that multiplies the linear layers of models: its context and stream, the loaded kernels, and buffers that all layers share. Layers
/// made for it must be disposed before it. Safe for several threads, which take turns.
/// </summary>
public sealed class CudaAccelerator : IDisposable
{
    private readonly Dictionary<(Int8KernelSet Kernels, float Threshold), CudaInt8MatMul> _kernels = [];
    private readonly CudaMatMulWorkspace _workspace;
    private CudaBuffer? _input;
    private CudaBuffer? _output;

    /// <summary>Takes a device into use.</summary>
    /// <param name="device">One of <see cref="CudaDevice.All"/>.</param>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public CudaAccelerator(CudaDevice device)
    {
        Context = new CudaContext(device);
        Stream = new CudaStream(Context);
        _workspace = new CudaMatMulWorkspace(Context, Stream);
    }

    internal CudaContext Context { get; }

    internal CudaStream Stream { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (CudaInt8MatMul kernels in _kernels.Values)
        {
            kernels.Dispose();
        }

        _input?.Dispose();
        _output?.Dispose();
        _workspace.Dispose();
        Stream.Dispose();
        Context.Dispose();
    }

    /// <summary>The loaded kernels of a set, with a threshold of their own.</summary>
    internal CudaInt8MatMul KernelsOf(Int8KernelSet set, float? threshold)
    {
        lock (_kernels)
        {
            float value = threshold ?? set.Spec.OutlierThreshold;
            if (!_kernels.TryGetValue((set, value), out CudaInt8MatMul? kernels))
            {
                kernels = new CudaInt8MatMul(Context, set.Spec with { OutlierThreshold = value }, set.CudaVariants);
                _kernels.Add((set, value), kernels);
            }

            return kernels;
        }
    }

    /// <summary>Multiplies rows that lie in the host's memory.</summary>
    internal void Multiply(CudaInt8MatMul kernels, CudaInt8Weights weights, CudaBuffer? bias, ReadOnlySpan<float> input, int rows, Span<float> output)
    {
        lock (_kernels)
        {
            Context.Use();
            CudaBuffer from = Grow(ref _input, input.Length), to = Grow(ref _output, output.Length);
            from.Upload(input, Stream);
            kernels.Multiply(
                _workspace,
                new CudaMatrix(from.Address, ElementFormat.Float32, weights.InputFeatures),
                rows,
                weights,
                new CudaMatrix(to.Address, ElementFormat.Float32, weights.OutputFeatures),
                bias?.Address ?? 0);
            to.Download(output, Stream);
            Stream.Synchronize();
        }
    }

    private CudaBuffer Grow(ref CudaBuffer? buffer, int values)
    {
        long bytes = (long)values * sizeof(float);
        if (buffer is null || buffer.Bytes < bytes)
        {
            buffer?.Dispose();
            buffer = null;
            buffer = new CudaBuffer(Context, bytes);
        }

        return buffer;
    }
}
