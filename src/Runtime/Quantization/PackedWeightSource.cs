using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace KernelGen.Quantization;

/// <summary>Packed int8 weights as the source of outlier columns, whose weights are dequantized.</summary>
internal sealed class PackedWeightSource(Int8Weights weights) : WeightSource(weights.Name, weights.OutputFeatures, weights.InputFeatures)
{
    /// <inheritdoc/>
    public override Type ElementType => typeof(float);

    /// <inheritdoc/>
    public override long Bytes => 0;

    /// <inheritdoc/>
    public override void ReadRow(int row, Span<float> destination)
    {
        sbyte[] quantized = new sbyte[destination.Length];
        weights.CopyQuantizedRow(row, quantized);
        for (int k = 0; k < destination.Length; k++)
        {
            destination[k] = quantized[k] * weights.ColumnScales[row];
        }
    }

    /// <inheritdoc/>
    public override void ReadColumn(int column, int firstRow, Span<float> destination)
    {
        WeightPanels slice = SliceOf(column);
        slice.ReadColumn(column - slice.FirstColumn, firstRow, weights.ColumnScales.AsSpan(firstRow), destination);
    }

    /// <summary>A whole column as it is packed: [N] int8.</summary>
    public sbyte[] QuantizedColumn(int column)
    {
        WeightPanels slice = SliceOf(column);
        sbyte[] values = new sbyte[Rows];
        for (int row = 0; row < values.Length; row++)
        {
            values[row] = slice[row, column - slice.FirstColumn];
        }

        return values;
    }

    /// <summary>Dequantizes a part of what <see cref="QuantizedColumn"/> gave.</summary>
    /// <param name="values">The weights of some output features.</param>
    /// <param name="firstRow">The first output feature.</param>
    /// <param name="destination">A value for each.</param>
    public void Dequantize(ReadOnlySpan<sbyte> values, int firstRow, Span<float> destination)
    {
        ref sbyte first = ref MemoryMarshal.GetReference(values);
        ref float scales = ref weights.ColumnScales[firstRow], target = ref MemoryMarshal.GetReference(destination);
        int i = 0;
        for (; i <= destination.Length - Vector128<sbyte>.Count; i += Vector128<sbyte>.Count)
        {
            (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.LoadUnsafe(ref first, (nuint)i));
            (Vector128<int> w0, Vector128<int> w1) = Vector128.Widen(low);
            (Vector128<int> w2, Vector128<int> w3) = Vector128.Widen(high);
            Scale(w0, ref scales, ref target, i);
            Scale(w1, ref scales, ref target, i + 4);
            Scale(w2, ref scales, ref target, i + 8);
            Scale(w3, ref scales, ref target, i + 12);
        }

        for (; i < destination.Length; i++)
        {
            destination[i] = values[i] * weights.ColumnScales[firstRow + i];
        }
    }

    private static void Scale(Vector128<int> w, ref float scales, ref float target, int index) =>
        (Vector128.ConvertToSingle(w) * Vector128.LoadUnsafe(ref scales, (nuint)index)).StoreUnsafe(ref target, (nuint)index);

    private WeightPanels SliceOf(int column) => weights.Slices[column / weights.Slices[0].Columns];
}
