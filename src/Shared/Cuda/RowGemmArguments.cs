using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The second parameter block of the GEMM kernels that quantize their single row of A themselves; see <see cref="GemmArguments"/> for how it is used.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RowGemmArguments
{
    /// <summary>f32 [K]: the residual stream. Norms only; a row without norm is <see cref="GemmArguments.Activations"/>, aligned to 16 bytes.</summary>
    public ulong Residual;

    /// <summary>f32 [K]: receives the residual stream and what was added to it; not Residual, which other blocks may still read. Or 0.</summary>
    public ulong Sum;

    /// <summary>f16 [K], added to the residual stream first; or 0.</summary>
    public ulong First;

    /// <summary>f16 [K], added after First; or 0.</summary>
    public ulong Second;

    /// <summary>f32 [K], the norm's factors; or 0.</summary>
    public ulong Weight;

    /// <summary>f32 [K], the norm's addends; or 0.</summary>
    public ulong Bias;

    /// <summary>Values of the row.</summary>
    public uint K;

    /// <summary>As in <see cref="QuantizeArguments"/>.</summary>
    public uint ThresholdPair;

    /// <summary>A <see cref="CudaNorm"/>.</summary>
    public uint Norm;

    /// <summary>Added to the variance or the mean square.</summary>
    public float Epsilon;
}
