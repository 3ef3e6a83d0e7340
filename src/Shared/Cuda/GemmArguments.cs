using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>
/// The parameter block that every CUDA GEMM kernel takes, whatever its family. The emitters read the offsets from this layout, the runtime
/// fills it: one truth for both. Addresses are device addresses; 0 stands for "not there".
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GemmArguments
{
    /// <summary>Quantized activations, s8 [padded M, KPadded].</summary>
    public ulong Quantized;

    /// <summary>Quantized weights, s8 [N, KPadded], zeros beyond K.</summary>
    public ulong Weights;

    /// <summary>Results, [M, N] with a row every OutputStride elements.</summary>
    public ulong Output;

    /// <summary>absmax / 127 per row of A (NaN for a row that is not finite), f32, padded to whole tiles.</summary>
    public ulong RowSteps;

    /// <summary>absmax / 127 per output feature, f32, padded to whole tiles; with 16-bit operands that stand for int8 weights too, else 0.</summary>
    public ulong ColumnSteps;

    /// <summary>Zero-point per row of A, s32, padded to whole tiles.</summary>
    public ulong RowZeros;

    /// <summary>Sum of the int8 weights per output feature, s32, padded to whole tiles.</summary>
    public ulong WeightSums;

    /// <summary>Addend per output feature, f32, padded to whole tiles, with 16-bit operands [N]; or 0.</summary>
    public ulong Bias;

    /// <summary>The activations before quantization, in InputFormat.</summary>
    public ulong Activations;

    /// <summary>One bit per column that has outliers, u32 [MaskWords].</summary>
    public ulong OutlierMask;

    /// <summary>Zero between launches: counts the warps that are done with the mask, so that the last one clears it for the next call.</summary>
    public ulong OutlierTicket;

    /// <summary>Up to eight outliers of each row, as (u32 column or none, f32 value) [4 pairs][RowOutlierPitch rows][2]; or 0.</summary>
    public ulong RowOutliers;

    /// <summary>16- or 32-bit weights of outlier columns, in OriginalFormat; 0 where the int8 weights are dequantized instead.</summary>
    public ulong Originals;

    /// <summary>Sums of tiles whose K is split, s32, all zero between launches.</summary>
    public ulong Partials;

    /// <summary>K blocks summed so far per split tile, u32, all zero between launches.</summary>
    public ulong PartialTickets;

    /// <summary>Rows of A.</summary>
    public uint M;

    /// <summary>Output features.</summary>
    public uint N;

    /// <summary>K rounded up to whole K blocks: bytes of a row of Quantized and of Weights.</summary>
    public uint KPadded;

    /// <summary>Elements from one row of Activations to the next.</summary>
    public uint ActivationStride;

    /// <summary>Elements from one row of Output to the next.</summary>
    public uint OutputStride;

    /// <summary>An <see cref="ElementFormat"/>.</summary>
    public uint InputFormat;

    /// <summary>An <see cref="ElementFormat"/>.</summary>
    public uint OriginalFormat;

    /// <summary>Elements from one output feature's originals to the next's.</summary>
    public uint OriginalStride;

    /// <summary>1 where column number u of Originals is the u-th set bit of the mask, 0 where it is column k itself.</summary>
    public uint OriginalsCompact;

    /// <summary>An <see cref="Activation"/>.</summary>
    public uint Activation;

    /// <summary>Words of OutlierMask.</summary>
    public uint MaskWords;

    /// <summary>The outlier threshold.</summary>
    public float Threshold;

    /// <summary>1 where the results cannot leave by bulk copies (rows not 16-byte aligned), so that threads store them.</summary>
    public uint StoreDirectly;

    /// <summary>1 for a calibrated mask, which stays.</summary>
    public uint KeepMask;

    /// <summary>Rows of RowOutliers.</summary>
    public uint RowOutlierPitch;
}
