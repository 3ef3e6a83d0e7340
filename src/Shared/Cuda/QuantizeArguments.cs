using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of every CUDA quantization kernel; see <see cref="GemmArguments"/> for how it is used.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct QuantizeArguments
{
    /// <summary>[M, K] values with a row every InputStride elements.</summary>
    public ulong Input;

    /// <summary>s8 [M, KPadded].</summary>
    public ulong Quantized;

    /// <summary>f32 [M]: the factor of a row's results, absmax / 127.</summary>
    public ulong RowSteps;

    /// <summary>s32 [M]: the zero-points; or 0.</summary>
    public ulong RowZeros;

    /// <summary>f32 [M]: absmax (symmetric) per row; or 0.</summary>
    public ulong Absmax;

    /// <summary>One bit per column, u32 [KPadded / 32]: written by Detect and by Elements, read where whole columns are left out.</summary>
    public ulong OutlierMask;

    /// <summary>The bits of the largest value and of minus the smallest, u32 [2], zeroed by the caller: one scale for all rows.</summary>
    public ulong TensorRange;

    /// <summary>Up to eight outliers of each row, as (u32 column or none, f32 value) [4 pairs][RowOutlierPitch rows][2]; or 0.</summary>
    public ulong RowOutliers;

    /// <summary>Values per row.</summary>
    public uint K;

    /// <summary>K rounded up to whole K blocks of 128.</summary>
    public uint KPadded;

    /// <summary>Elements from one row of Input to the next.</summary>
    public uint InputStride;

    /// <summary>The outlier threshold.</summary>
    public float Threshold;

    /// <summary>1 where a row fits the dynamic shared memory, so that it is read from global memory once.</summary>
    public uint Cached;

    /// <summary>1 where every row starts at a multiple of 16 bytes.</summary>
    public uint Aligned;

    /// <summary>Rows of Input.</summary>
    public uint Rows;

    /// <summary>Warps that share a row, where rows stay in registers; a block has a multiple of them.</summary>
    public uint WarpsPerRow;

    /// <summary>Twice the smallest 16-bit value of the input's type that is not below Threshold.</summary>
    public uint ThresholdPair;

    /// <summary>Rows of RowOutliers.</summary>
    public uint RowOutlierPitch;

    /// <summary>
    /// 1 where the kernel ahead is one in registers that marks Input's outlier columns. It lets this one start when it has seen what is before it end, so Input is there:
    /// it is read while the other one reads it, and what the kernels before have read, such as Quantized, may be written.
    /// </summary>
    public uint InputReady;
}
