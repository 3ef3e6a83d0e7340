using System.ComponentModel;

#pragma warning disable CA1051 // Kernel code reads fields; a property is a call that ILGPU has to inline first.

namespace KernelGen;

/// <summary>The numbers that the generated ILGPU kernels for rows of activations take; see <see cref="IlgpuGemmShape"/>.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public struct IlgpuRowShape
{
    /// <summary>Values per row.</summary>
    public int K;

    /// <summary>32-bit words, of four int8 values each, in a quantized row; zeros beyond K.</summary>
    public int KWords;

    /// <summary>Elements from one row to the next.</summary>
    public int InputStride;

    /// <summary>An <see cref="ElementFormat"/>.</summary>
    public int InputFormat;

    /// <summary>The outlier threshold.</summary>
    public float Threshold;
}
