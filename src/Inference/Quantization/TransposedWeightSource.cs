using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Quantization;

/// <summary>
/// The transposed view of a mapped matrix: stored as [K,N], read as [N,K]. A row is spread over the whole file, so rows are gathered in
/// blocks of neighbours, each thread its own; a column lies in one piece.
/// </summary>
internal sealed class TransposedWeightSource : WeightSource
{
    /// <summary>One cache line of halves: what a visit of a stored row loads anyway.</summary>
    private const int RowsPerBlock = 32;

    /// <summary>The block that the thread read last. Per thread, not per source: quantizing reads one matrix after the other.</summary>
    [ThreadStatic]
    private static (TransposedWeightSource? Owner, int First, float[] Values) t_block;

    private readonly MappedTensor _tensor;

    public TransposedWeightSource(MappedTensor tensor, int rows, int columns)
        : base(tensor.Info.Name, rows, columns)
    {
        tensor.RequireFloatingPoint();
        _tensor = tensor;
    }

    public override Type ElementType => MappedWeightSource.ElementTypeOf(_tensor);

    public override long Bytes => 0;

    public override void ReadRow(int row, Span<float> destination)
    {
        int first = row / RowsPerBlock * RowsPerBlock;
        if (t_block.Owner != this || t_block.First != first)
        {
            // The old block's memory is used again: it must not be found should gathering fail.
            t_block.Owner = null;
            t_block = (this, first, Gather(first));
        }

        t_block.Values.AsSpan((row - first) * Columns, Columns).CopyTo(destination);
    }

    public override void ReadColumn(int column, int firstRow, Span<float> destination) =>
        _tensor.CopyTo(((long)column * Rows) + firstRow, destination);

    /// <summary>Rows from <paramref name="first"/> on, [up to <see cref="RowsPerBlock"/>, K].</summary>
    private float[] Gather(int first)
    {
        int count = Math.Min(RowsPerBlock, Rows - first);
        float[] values = t_block.Values is { } last && last.Length == (long)count * Columns ? last : new float[checked(count * Columns)];
        Span<float> stored = stackalloc float[count];
        for (int k = 0; k < Columns; k++)
        {
            ReadColumn(k, first, stored);
            for (int i = 0; i < count; i++)
            {
                values[(i * Columns) + k] = stored[i];
            }
        }

        return values;
    }
}
