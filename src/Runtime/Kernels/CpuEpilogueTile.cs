using System.ComponentModel;

namespace KernelGen.Kernels;

/// <summary>
/// A tile of finished sums and all that makes results of them:
/// <c>y[m,j] = activation((sums[m,j] - zeroPoints[m] * weightSums[j]) * (rowScales[m] * columnScales[j]) + outliers[m,j] + bias[j])</c>
/// in float32, where the outlier products of a row are summed in the order of its list, from zero, with fused multiply-adds.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
#pragma warning disable CA1051 // A list of arguments for generated code: ref properties would only hide the references.
public ref struct CpuEpilogueTile
{
    /// <summary>Rows of the tile.</summary>
    public nint Rows;

    /// <summary>Output features of the tile, whole panels.</summary>
    public nint Columns;

    /// <summary>The int32 sums, where K needs no more.</summary>
    public ref int Sums;

    /// <summary>The int64 sums otherwise.</summary>
    public ref long WideSums;

    /// <summary>Elements from one row of sums to the next.</summary>
    public nint SumsStride;

    /// <summary>Per row absmax / 127, or (high - low) / 254. NaN makes every result of the row NaN.</summary>
    public ref float RowScales;

    /// <summary>Per row the zero-point.</summary>
    public ref int ZeroPoints;

    /// <summary>absmax / 127 of every output feature.</summary>
    public ref float ColumnScales;

    /// <summary>The sum of every output feature's quantized weights.</summary>
    public ref int WeightSums;

    /// <summary>Per row where its outliers start in the lists below, and the end of the last row's.</summary>
    public ref int OutlierStarts;

    /// <summary>For each outlier of a row's own list the row of <see cref="OutlierWeights"/> that holds its column; where whole columns leave, these are the rows in order.</summary>
    public ref int OutlierSlots;

    /// <summary>The outliers' values.</summary>
    public ref float OutlierValues;

    /// <summary>Gathered weights, one row per outlier column, one value per output feature.</summary>
    public ref float OutlierWeights;

    /// <summary>Elements from one gathered row to the next.</summary>
    public nint OutlierWeightsStride;

    /// <summary>The bias of every output feature.</summary>
    public ref float Bias;

    /// <summary>The function applied last.</summary>
    public Activation Activation;

    /// <summary>The results, which may take the place of the sums.</summary>
    public ref float Results;

    /// <summary>Elements from one row of results to the next.</summary>
    public nint ResultsStride;
}
