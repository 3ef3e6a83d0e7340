namespace KernelGen.Backends.Cuda;

/// <summary>Where a norm or gate leaves its rows quantized, for the int8 multiplication that follows; made by <see cref="CudaInt8MatMul.QuantizeTarget"/>.</summary>
/// <param name="Outliers">What is left out of the int8 part.</param>
/// <param name="ZeroPoint">Whether rows have a zero-point.</param>
/// <param name="Threshold">From where an activation is an outlier.</param>
/// <param name="Quantized">s8 [rows, KPadded].</param>
/// <param name="RowSteps">f32 [rows].</param>
/// <param name="RowZeros">s32 [rows].</param>
/// <param name="OutlierMask">A bit per column.</param>
/// <param name="RowOutliers">As in <see cref="QuantizeArguments"/>.</param>
/// <param name="RowOutlierPitch">As in <see cref="QuantizeArguments"/>.</param>
/// <param name="KPadded">Bytes of a quantized row.</param>
internal readonly record struct CudaQuantizeTarget(
    OutlierPolicy Outliers,
    bool ZeroPoint,
    float Threshold,
    ulong Quantized,
    ulong RowSteps,
    ulong RowZeros,
    ulong OutlierMask,
    ulong RowOutliers,
    uint RowOutlierPitch,
    int KPadded);
