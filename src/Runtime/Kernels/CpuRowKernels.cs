using System.ComponentModel;

namespace KernelGen.Kernels;

/// <summary>The kernels of one vector width that work on rows: quantization before the multiplication, the epilogue after it.</summary>
/// <param name="VectorBits">Width of the vectors, 32 for scalar code.</param>
/// <param name="MarkOutlierColumns">Finds outlier columns; null unless the policy is <see cref="OutlierPolicy.Columns"/>.</param>
/// <param name="RowRange">Finds a row's range.</param>
/// <param name="CountOutliers">Counts a row's outliers; null unless the policy is <see cref="OutlierPolicy.Elements"/>.</param>
/// <param name="CollectOutliers">Lists a row's outliers; null unless the policy is <see cref="OutlierPolicy.Elements"/>.</param>
/// <param name="Epilogue">Dequantizes, adds the outlier products and the bias, activates.</param>
/// <param name="EpilogueInt64">The same on 64-bit sums; null unless the accumulation is <see cref="Accumulation.Int64"/>.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CpuRowKernels(
    int VectorBits,
    CpuMarkOutlierColumns? MarkOutlierColumns,
    CpuRowRange RowRange,
    CpuCountOutliers? CountOutliers,
    CpuCollectOutliers? CollectOutliers,
    CpuEpilogue Epilogue,
    CpuEpilogue? EpilogueInt64);
