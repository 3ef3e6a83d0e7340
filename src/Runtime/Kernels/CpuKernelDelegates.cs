using System.ComponentModel;

namespace KernelGen.Kernels;

/// <summary>
/// Multiplies one tile: <c>c[i,j] = sum over k of a[i,k] * b[j,k]</c>, exact in int32, for MR rows of A and one weight panel of NR output features.
/// </summary>
/// <param name="a">First of MR quantized rows in the variant's <see cref="ActivationFormat"/>, readable up to kGroups * c values each.</param>
/// <param name="aStride">Bytes from one row of A to the next.</param>
/// <param name="panel">A panel written by <see cref="CpuPackPanel"/> with the same layout.</param>
/// <param name="kGroups">K divided by the tile's c, rounded up to an even number.</param>
/// <param name="start">
/// What the sums of unsigned activations start from, a row of NR for every row of A: the panel's header, or with it the products with what packing took from the panel.
/// Those of signed activations start from zero.
/// </param>
/// <param name="startStride">Elements from one row of it to the next; 0 where all rows start alike.</param>
/// <param name="c">The int32 tile, row-major, overwritten.</param>
/// <param name="cStride">Elements from one row of the tile to the next.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuGemm(
    ref byte a, nint aStride, ref byte panel, nint kGroups, ref int start, nint startStride, ref int c, nint cStride);

/// <summary>Multiplies one row with several neighbouring panels; the sums of unsigned activations start from the panels' headers.</summary>
/// <param name="a">The quantized row, as <see cref="CpuGemm"/> has it.</param>
/// <param name="panel">The first panel; the others lie behind it.</param>
/// <param name="kGroups">K divided by the panels' c, rounded up to an even number.</param>
/// <param name="c">The int32 results of all panels, overwritten.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuGemmRow(ref byte a, ref byte panel, nint kGroups, ref int c);

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
/// Clears <c>keep[j]</c> for every column where a finite row has <c>|row[j]| >= threshold</c>, and finds the range of the values in the columns that
/// are kept then. A row with a NaN or an infinity marks nothing.
/// </summary>
/// <param name="row">K values.</param>
/// <param name="k">K.</param>
/// <param name="threshold">The outlier threshold.</param>
/// <param name="keep">A mask a column, -1 (stays) or 0 (outlier), padded to whole vectors.</param>
/// <param name="low">min(0, smallest value); 0 for symmetric activations.</param>
/// <param name="high">max(0, largest value); the absmax for symmetric activations.</param>
/// <returns>How many columns were cleared, or -1 when any value of the row is a NaN or an infinity.</returns>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate int CpuMarkOutlierColumns(ref float row, nint k, float threshold, ref int keep, out float low, out float high);

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
/// <param name="scale">127 * (1 / absmax), or 254 / (high - low), of the prescaled row.</param>
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

/// <summary>Turns a tile of sums into results.</summary>
/// <param name="tile">The sums, what to apply to them, and where the results go.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate void CpuEpilogue(scoped ref CpuEpilogueTile tile);
