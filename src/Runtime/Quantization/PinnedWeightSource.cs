using KernelGen.MatMul;

namespace KernelGen.Quantization;

/// <summary>Weights in memory that its owner keeps in place while they are quantized.</summary>
internal sealed unsafe class PinnedWeightSource<T>(T* values, TensorMatrix shape) : WeightSource("weights", shape.Rows, shape.Columns)
    where T : unmanaged
{
    public override Type ElementType => typeof(T);

    public override long Bytes => 0;

    public override void ReadRow(int row, Span<float> destination) => Elements.ToSingle(Row(row), destination);

    public override void ReadColumn(int column, int firstRow, Span<float> destination)
    {
        for (int i = 0; i < destination.Length; i++)
        {
            Elements.ToSingle(Row(firstRow + i).Slice(column, 1), destination.Slice(i, 1));
        }
    }

    /// <summary>The weights in memory of their own, for who reads them later.</summary>
    /// <exception cref="ArgumentException">They have more elements than an array can.</exception>
    public MemoryWeightSource<T> Copy()
    {
        if ((long)Rows * Columns > Array.MaxLength)
        {
            throw new ArgumentException(
                $"The original weights of [{Rows}, {Columns}] do not fit an array: quantize from a WeightSource of your own, or with dequantized outlier weights.");
        }

        T[] copy = GC.AllocateUninitializedArray<T>(Rows * Columns);
        for (int row = 0; row < Rows; row++)
        {
            Row(row).CopyTo(copy.AsSpan(row * Columns, Columns));
        }

        return new MemoryWeightSource<T>(copy, Rows, Columns, Name);
    }

    private ReadOnlySpan<T> Row(int row) => new(values + (row * shape.RowStride), Columns);
}
