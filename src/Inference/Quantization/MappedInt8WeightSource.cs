using System.Runtime.InteropServices;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Quantization;

/// <summary>The int8 weights of a memory-mapped checkpoint; nothing is kept in memory but the absmax of the rows.</summary>
internal sealed class MappedInt8WeightSource : QuantizedWeightSource
{
    private readonly MappedTensor _weights;
    private readonly StoredInt8 _stored;

    public MappedInt8WeightSource(MappedTensor weights, StoredInt8 stored, int rows, int columns)
        : base(weights.Info.Name, rows, columns)
    {
        _weights = weights;
        _stored = stored;
    }

    public override IReadOnlyList<int> OriginalColumns => _stored.OutlierColumns ?? [];

    /// <summary>The type of the original weights, which are all that anybody keeps of this source.</summary>
    public override Type ElementType => _stored.OutlierWeights is null ? typeof(float) : MappedWeightSource.ElementTypeOf(_stored.OutlierWeights);

    public override long Bytes => (long)Rows * sizeof(float);

    public override float Absmax(int row) => _stored.Absmax[row];

    public override void ReadQuantizedRow(int row, Span<sbyte> destination) => Row(row).CopyTo(destination);

    public override void ReadColumn(int column, int firstRow, Span<float> destination)
    {
        int index = IndexOfOriginal(column);
        if (index >= 0)
        {
            _stored.OutlierWeights!.CopyTo(((long)index * Rows) + firstRow, destination);
            return;
        }

        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = Row(firstRow + i)[column] * (Absmax(firstRow + i) / 127f);
        }
    }

    private ReadOnlySpan<sbyte> Row(int row) => MemoryMarshal.Cast<byte, sbyte>(_weights.Row(row));

    private int IndexOfOriginal(int column)
    {
        IReadOnlyList<int> columns = OriginalColumns;
        for (int i = 0; i < columns.Count; i++)
        {
            if (columns[i] == column)
            {
                return i;
            }
        }

        return -1;
    }
}
