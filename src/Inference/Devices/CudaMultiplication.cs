using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>What the kernel ahead of a multiplication has done of its quantization.</summary>
internal enum Prepared
{
    /// <summary>Nothing.</summary>
    Nothing,

    /// <summary>The outlier columns are marked.</summary>
    Marked,

    /// <summary>The rows are quantized.</summary>
    Quantized,
}

/// <summary>The rows that a product takes.</summary>
/// <param name="Rows">f16; where there is a norm, what it would round them to.</param>
/// <param name="Prepared">What of them is in the multiplication's workspace already.</param>
/// <param name="Norm">What makes the one row, where the product is to do that itself, and the kernel that does.</param>
internal readonly record struct ProductInput(CudaMatrix Rows, Prepared Prepared = Prepared.Nothing, (CudaNormInput Row, CudaKernelVariant Kernel)? Norm = null);

/// <summary>The products with a model's matrices, in int8, in float16, or of both, as the scheme has it: one path for all.</summary>
internal sealed class CudaMultiplication : IDisposable
{
    private readonly CudaDecoderKernels _kernels;
    private readonly CudaStream _stream;
    private readonly CudaInt8MatMul? _int8;
    private readonly CudaMatMulWorkspace? _workspace;
    private readonly CudaBuffer? _widened;

    public CudaMultiplication(DecoderPlan plan, DeviceMemoryPlan memory, CudaDecoderKernels kernels, float? threshold, CudaStream stream)
    {
        _kernels = kernels;
        _stream = stream;
        if (memory.Scheme.Kernels is not { } set)
        {
            _widened = memory.WidenedBytes > 0 ? new CudaBuffer(stream.Context, memory.WidenedBytes) : null;
            return;
        }

        _int8 = new CudaInt8MatMul(stream.Context, set.Spec with { OutlierThreshold = threshold ?? set.Spec.OutlierThreshold }, set.CudaVariants);
        _workspace = new CudaMatMulWorkspace(stream.Context, stream);
        try
        {
            WorkspaceSize.Of(plan, set, memory.Rows).Reserve(_workspace);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _int8?.Dispose();
        _workspace?.Dispose();
        _widened?.Dispose();
    }

    /// <summary>Lets a kernel that computes activations quantize them as well, for the matrix that they are multiplied by next.</summary>
    /// <param name="next">The matrix; null where none is, or one that other activations are multiplied by.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="queue">Queues the kernel with a target, or with null; returns whether it quantizes.</param>
    public Prepared Prepare(CudaMatrixWeights? next, int rows, Func<CudaQuantizeTarget?, bool> queue)
    {
        CudaQuantizeTarget? target = _int8 is not null && next?.Int8 is { } weights ? _int8.QuantizeTarget(_workspace!, rows, weights) : null;
        bool quantized = queue(target);
        return quantized ? Prepared.Quantized : target is null ? Prepared.Nothing : Prepared.Marked;
    }

    /// <summary>The kernel by which <see cref="Multiply"/> by these weights, into rows of the same type, with no activation or ReLU, normalizes a single row itself; or null.</summary>
    public CudaKernelVariant? Normalizes(CudaMatrixWeights weights, CudaMatrix row) =>
        weights.Int8 is { } int8 ? _int8?.SingleRow(row, int8, row.Format, Activation.Relu, normed: true) : null;

    /// <summary>Queues <c>output = activation(input * weights^T + bias)</c>.</summary>
    public void Multiply(CudaMatrixWeights weights, ProductInput input, int rows, CudaMatrix output, Activation activation = Activation.None)
    {
        if (input.Norm is { } norm)
        {
            _int8!.MultiplyRow(_stream, input.Rows, norm.Row, weights.Int8!, output, weights.Bias, activation, norm.Kernel);
            return;
        }

        if (weights.Int8 is not { } int8)
        {
            _kernels.FloatGemm(_stream, input.Rows, rows, weights.Half, weights.Plan.OutputFeatures, weights.Plan.InputFeatures, output, weights.Bias, activation);
            return;
        }

        if (_int8 is null)
        {
            _kernels.FloatGemm(_stream, input.Rows, rows, int8, output, weights.Bias, activation, _widened);
            return;
        }

        if (input.Prepared == Prepared.Nothing)
        {
            _int8.Multiply(_workspace!, input.Rows, rows, int8, output, weights.Bias, activation);
            return;
        }

        if (input.Prepared == Prepared.Marked)
        {
            _int8.QuantizeActivations(_workspace!, input.Rows, rows, int8, marked: true);
        }

        CudaKernelVariant gemm = _int8.Choose(rows, int8.OutputFeatures, int8.InputFeatures, output.Format);
        _int8.Gemm(_workspace!, input.Rows, rows, int8, output, weights.Bias, activation, gemm, early: true);
    }
}
