using System.ComponentModel;

#pragma warning disable CA1051 // Kernel code reads fields; a property is a call that ILGPU has to inline first.

namespace KernelGen;

/// <summary>
/// The numbers that every generated ILGPU GEMM kernel takes beside its memory views. ILGPU passes it by value; the kernels name its fields, the
/// runtime fills them.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public struct IlgpuGemmShape
{
    /// <summary>Device address of the quantized activations, for inline PTX; 0 where the accelerator is not CUDA.</summary>
    public long QuantizedAddress;

    /// <summary>Device address of the quantized weights; likewise.</summary>
    public long WeightsAddress;

    /// <summary>Rows of A.</summary>
    public int M;

    /// <summary>Output features.</summary>
    public int N;

    /// <summary>32-bit words, of four int8 values each, in a row of quantized activations or weights.</summary>
    public int KWords;

    /// <summary>Elements from one row of activations to the next.</summary>
    public int ActivationStride;

    /// <summary>Elements from one row of results to the next.</summary>
    public int OutputStride;

    /// <summary>The activations' <see cref="ElementFormat"/>.</summary>
    public int InputFormat;

    /// <summary>The results' <see cref="ElementFormat"/>.</summary>
    public int OutputFormat;

    /// <summary>The original weights' <see cref="ElementFormat"/>.</summary>
    public int OriginalFormat;

    /// <summary>Elements from one output feature's original weights to the next's; 0 where int8 weights are dequantized instead.</summary>
    public int OriginalStride;

    /// <summary>1 where column number j of the originals is the j-th outlier column, 0 where it is column k itself.</summary>
    public int OriginalsCompact;

    /// <summary>1 where there is a bias.</summary>
    public int HasBias;

    /// <summary>An <see cref="KernelGen.Activation"/>.</summary>
    public int Activation;

    /// <summary>The outlier threshold.</summary>
    public float Threshold;
}
