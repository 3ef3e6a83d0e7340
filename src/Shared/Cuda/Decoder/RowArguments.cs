using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of the kernels that take one row per thread block: norms and gates, with or without quantization behind them.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RowArguments
{
    /// <summary>f32 [rows, Width]: the residual stream. Norms only.</summary>
    public ulong Residual;

    /// <summary>f32 [rows, Width]: receives the residual stream where something is added or Replace is 1; may be Residual.</summary>
    public ulong Sum;

    /// <summary>f16 [rows, Width] with a row every FirstStride elements, added to the residual stream first; or 0. For a gate: what is activated.</summary>
    public ulong First;

    /// <summary>The same once more, added after First; or 0. For a gate: what the activated values are multiplied by; or 0.</summary>
    public ulong Second;

    /// <summary>f32 [Width]; or 0.</summary>
    public ulong Weight;

    /// <summary>f32 [Width]; or 0.</summary>
    public ulong Bias;

    /// <summary>f16 [rows, Width] with a row every OutputStride elements; or 0.</summary>
    public ulong Output;

    /// <summary>u32 [rows]: rows whose position is <see cref="DecoderRow.Inactive"/> give zeros; or 0.</summary>
    public ulong Positions;

    /// <summary>As in <see cref="QuantizeArguments"/>.</summary>
    public ulong Quantized;

    /// <summary>As in <see cref="QuantizeArguments"/>.</summary>
    public ulong RowSteps;

    /// <summary>As in <see cref="QuantizeArguments"/>.</summary>
    public ulong RowZeros;

    /// <summary>As in <see cref="QuantizeArguments"/>.</summary>
    public ulong OutlierMask;

    /// <summary>As in <see cref="QuantizeArguments"/>.</summary>
    public ulong RowOutliers;

    /// <summary>Values per row, a multiple of 8.</summary>
    public uint Width;

    /// <summary>Width rounded up to whole K blocks of 128.</summary>
    public uint KPadded;

    /// <summary>As in <see cref="QuantizeArguments"/>.</summary>
    public uint RowOutlierPitch;

    /// <summary>Elements from one row of First to the next.</summary>
    public uint FirstStride;

    /// <summary>Elements from one row of Second to the next.</summary>
    public uint SecondStride;

    /// <summary>Elements from one row of Output to the next.</summary>
    public uint OutputStride;

    /// <summary>A <see cref="CudaNorm"/> for norms, an <see cref="Activation"/> for gates.</summary>
    public uint Function;

    /// <summary>1 where the normalized row becomes the residual stream.</summary>
    public uint Replace;

    /// <summary>Added to the variance or the mean square.</summary>
    public float Epsilon;

    /// <summary>The outlier threshold.</summary>
    public float Threshold;
}
