using System.ComponentModel;

namespace KernelGen.Kernels;

/// <summary>
/// Multiplies one tile: <c>c[i,j] = sum over k of a[i,k] * b[j,k]</c>, exact in int32, for MR rows of A and one weight panel of NR output features.
/// </summary>
/// <param name="a">First of MR quantized rows in the variant's <see cref="ActivationFormat"/>, readable up to kGroups * c values each.</param>
/// <param name="aStride">Bytes from one row of A to the next.</param>
/// <param name="panel">A panel written by <see cref="CpuPackPanel"/> with the same layout.</param>
/// <param name="kGroups">K divided by the tile's c, rounded up.</param>
/// <param name="c">The int32 tile, row-major, overwritten.</param>
/// <param name="cStride">Elements from one row of the tile to the next.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuGemm(ref byte a, nint aStride, ref byte panel, nint kGroups, ref int c, nint cStride);

/// <summary>
/// Interleaves up to NR rows of int8 weights into a panel: an int32 header per output feature where the format needs one, then for every
/// group of c values of k the NR groups side by side. What lies beyond <paramref name="rows"/> and <paramref name="k"/> is zero.
/// </summary>
/// <param name="source">The first weight row.</param>
/// <param name="sourceStride">Bytes from one weight row to the next.</param>
/// <param name="rows">Rows that exist, 1 to NR.</param>
/// <param name="k">Values a row.</param>
/// <param name="panel">The panel, overwritten.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuPackPanel(ref sbyte source, nint sourceStride, int rows, int k, ref byte panel);

/// <summary>
/// Clears <c>keep[j]</c> for every column where a finite row has <c>|row[j]| >= threshold</c>. A row with a NaN or an infinity marks nothing.
/// </summary>
/// <param name="row">K values.</param>
/// <param name="k">K.</param>
/// <param name="threshold">The outlier threshold.</param>
/// <param name="keep">A mask a column, -1 (stays) or 0 (outlier), padded to whole vectors.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuMarkOutlierColumns(ref float row, nint k, float threshold, ref int keep);

/// <summary>Finds the range of the values of a row that stay in the int8 part.</summary>
/// <param name="row">K values.</param>
/// <param name="k">K.</param>
/// <param name="keep">The column mask, where the policy has one.</param>
/// <param name="threshold">The outlier threshold, where the policy has one.</param>
/// <param name="low">min(0, smallest value); 0 for symmetric activations.</param>
/// <param name="high">max(0, largest value); the absmax for symmetric activations.</param>
/// <returns>False when any value of the row, an outlier or not, is a NaN or an infinity.</returns>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate bool CpuRowRange(ref float row, nint k, ref int keep, float threshold, out float low, out float high);

/// <summary>Quantizes a row: <c>q = round(x * prescale * scale) + zeroPoint</c>, half to even; an outlier becomes the zero-point.</summary>
/// <param name="row">K values, finite.</param>
/// <param name="k">K.</param>
/// <param name="keep">The column mask, where the policy has one.</param>
/// <param name="threshold">The outlier threshold, where the policy has one.</param>
/// <param name="prescale">A power of two that lifts tiny rows, so that the scale is finite; else 1.</param>
/// <param name="scale">127 / absmax, or 254 / (high - low), of the prescaled row.</param>
/// <param name="zeroPoint">z; 0 for symmetric activations.</param>
/// <param name="destination">The quantized row, padded to a multiple of 64 values.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuQuantizeRow(
    ref float row, nint k, ref int keep, float threshold, float prescale, float scale, int zeroPoint, ref byte destination);

/// <summary>Counts the outliers of one row.</summary>
/// <param name="row">K values, finite.</param>
/// <param name="k">K.</param>
/// <param name="threshold">The outlier threshold.</param>
/// <returns>How many values have <c>|x| >= threshold</c>.</returns>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate int CpuCountOutliers(ref float row, nint k, float threshold);

/// <summary>Lists the outliers of one row in ascending order of their columns.</summary>
/// <param name="row">K values, finite.</param>
/// <param name="k">K.</param>
/// <param name="threshold">The outlier threshold.</param>
/// <param name="columns">Room for as many column indices as <see cref="CpuCountOutliers"/> counts.</param>
/// <param name="values">Room for as many values.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuCollectOutliers(ref float row, nint k, float threshold, ref int columns, ref float values);

/// <summary>
/// Sums a row's outlier products in float32, in the order of its list: <c>sum[j] = fma(values[i], weights[slots[i], j], sum[j])</c> from zero.
/// </summary>
/// <param name="slots">For each outlier the row of <paramref name="weights"/> that holds its column.</param>
/// <param name="values">The outliers' values.</param>
/// <param name="count">How many outliers the row has.</param>
/// <param name="weights">Gathered weights, one row per outlier column, one value per output feature.</param>
/// <param name="weightsStride">Elements from one gathered row to the next.</param>
/// <param name="sum">The n sums, overwritten.</param>
/// <param name="n">Output features, a multiple of NR.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuSumOutliers(
    ref int slots, ref float values, nint count, ref float weights, nint weightsStride, ref float sum, nint n);

/// <summary>
/// Turns a row of an int32 tile into results:
/// <c>y[j] = activation((acc[j] - zeroPoint * weightSums[j]) * (rowScale * columnScales[j]) + addend[j] + bias[j])</c>, in float32.
/// </summary>
/// <param name="acc">The int32 sums.</param>
/// <param name="n">Output features, a multiple of NR.</param>
/// <param name="rowScale">The row's scale: absmax / 127, or (high - low) / 254. NaN makes every result NaN.</param>
/// <param name="zeroPoint">The row's zero-point.</param>
/// <param name="columnScales">absmax / 127 of every output feature.</param>
/// <param name="weightSums">The sum of every output feature's quantized weights.</param>
/// <param name="addend">The outlier products.</param>
/// <param name="bias">The bias.</param>
/// <param name="activation">The function applied last.</param>
/// <param name="result">n results; they may take the place of the sums.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuEpilogue(
    ref int acc,
    nint n,
    float rowScale,
    int zeroPoint,
    ref float columnScales,
    ref int weightSums,
    ref float addend,
    ref float bias,
    Activation activation,
    ref float result);

/// <summary>As <see cref="CpuEpilogue"/>, for sums in 64 bits.</summary>
/// <param name="acc">The int64 sums.</param>
/// <param name="n">Output features, a multiple of NR.</param>
/// <param name="rowScale">The row's scale.</param>
/// <param name="zeroPoint">The row's zero-point.</param>
/// <param name="columnScales">absmax / 127 of every output feature.</param>
/// <param name="weightSums">The sum of every output feature's quantized weights.</param>
/// <param name="addend">The outlier products.</param>
/// <param name="bias">The bias.</param>
/// <param name="activation">The function applied last.</param>
/// <param name="result">n results.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuEpilogueInt64(
    ref long acc,
    nint n,
    float rowScale,
    int zeroPoint,
    ref float columnScales,
    ref int weightSums,
    ref float addend,
    ref float bias,
    Activation activation,
    ref float result);
