using System.Runtime.InteropServices;
using KernelGen.Inference.Checkpoints;
using KernelGen.Quantization;

namespace KernelGen.Inference.Conversion;

/// <summary>One tensor of the source on its way into the result. Its blocks may be converted by several threads, in any order.</summary>
internal sealed class TensorConversion
{
    private readonly PlannedWork _work;
    private readonly float _tensorAbsmax;
    private readonly float[] _absmax;
    private readonly byte[] _outliers;
    private int _openBlocks;

    /// <param name="work">What is to be done.</param>
    /// <param name="shard">Where it goes.</param>
    /// <param name="blocks">The number of blocks that it comes in.</param>
    /// <param name="tensorAbsmax">The absmax that all rows are quantized with; NaN for each row's own.</param>
    public TensorConversion(PlannedWork work, ShardOutput shard, int blocks, float tensorAbsmax)
    {
        _work = work;
        Shard = shard;
        _openBlocks = blocks;
        _tensorAbsmax = tensorAbsmax;
        _absmax = new float[work.Layer?.OutputFeatures ?? 0];
        _outliers = new byte[work.Layer?.OutlierColumns is null ? 0 : work.Outputs[^1].Bytes];
    }

    public ShardOutput Shard { get; }

    public string Name => _work.Source.Name;

    /// <summary>The largest magnitude of rows, for weights that share one scale.</summary>
    /// <exception cref="CheckpointException">A weight is not finite.</exception>
    public static float LargestMagnitude(PlannedWork work, SourceBlock block) => Typed(work, block, new AbsmaxRows(work.Source, block.First, block.Count));

    /// <summary>Converts and writes a block.</summary>
    /// <returns>Whether it was the tensor's last.</returns>
    /// <exception cref="CheckpointException">A weight is not finite, or the result cannot be written.</exception>
    public bool Convert(SourceBlock block)
    {
        if (_work.Layer is null)
        {
            Shard.Write(Name, block.First, block.Bytes);
        }
        else
        {
            _ = Typed(_work, block, new QuantizedRows(this, block));
        }

        if (Interlocked.Decrement(ref _openBlocks) > 0)
        {
            return false;
        }

        if (_work.Layer is { } layer)
        {
            WriteStatistics(layer);
        }

        return true;
    }

    private void WriteStatistics(PlannedLayer layer)
    {
        Shard.Write(layer.Module + Int8TensorNames.Absmax, 0, MemoryMarshal.AsBytes<float>(_absmax));
        Shard.Write(layer.Module + Int8TensorNames.Format, 0, [Int8TensorNames.RowMajor]);
        if (layer.OutlierColumns is { } columns)
        {
            Shard.Write(layer.Module + Int8TensorNames.OutlierColumns, 0, MemoryMarshal.AsBytes<int>([.. columns]));
            Shard.Write(layer.Module + Int8TensorNames.OutlierWeights, 0, _outliers);
        }
    }

    /// <summary>Runs an operation on a block's rows in the type that they are stored in.</summary>
    private static float Typed<TOperation>(PlannedWork work, SourceBlock block, TOperation operation)
        where TOperation : IRowOperation => work.Source.Type switch
        {
            TensorType.F32 => ForRows<float, TOperation>(work, block, operation),
            TensorType.F16 => ForRows<Half, TOperation>(work, block, operation),
            _ => ForRows<BFloat16, TOperation>(work, block, operation),
        };

    private static float ForRows<T, TOperation>(PlannedWork work, SourceBlock block, TOperation operation)
        where T : unmanaged
        where TOperation : IRowOperation
    {
        int columns = work.Layer!.InputFeatures;
        ReadOnlySpan<T> values = MemoryMarshal.Cast<byte, T>(block.Bytes);
        try
        {
            return operation.Run(work.Layer.IsTransposed ? Transpose(values, columns, block.Count) : values, columns);
        }
        catch (ArgumentException exception)
        {
            throw CheckpointException.For(
                work.Source.File, work.Source.Name, $"it cannot be quantized: {exception.Message}", "Use another checkpoint, or delete what is unfinished and leave the module out with --skip.");
        }
    }

    /// <summary>The rows of a block that is stored column by column; in squares, so that both sides stay in the cache.</summary>
    private static T[] Transpose<T>(ReadOnlySpan<T> stored, int columns, int rows)
    {
        const int Square = 32;
        T[] result = GC.AllocateUninitializedArray<T>(stored.Length);
        for (int left = 0; left < columns; left += Square)
        {
            for (int top = 0; top < rows; top += Square)
            {
                for (int column = left; column < Math.Min(left + Square, columns); column++)
                {
                    for (int row = top; row < Math.Min(top + Square, rows); row++)
                    {
                        result[(row * columns) + column] = stored[(column * rows) + row];
                    }
                }
            }
        }

        return result;
    }

    /// <summary>Work on the rows of a block.</summary>
    private interface IRowOperation
    {
        float Run<T>(ReadOnlySpan<T> values, int columns)
            where T : unmanaged;
    }

    private readonly struct AbsmaxRows(TensorInfo tensor, long firstRow, int rows) : IRowOperation
    {
        public float Run<T>(ReadOnlySpan<T> values, int columns)
            where T : unmanaged
        {
            float largest = 0;
            for (int row = 0; row < rows; row++)
            {
                largest = Math.Max(largest, WeightRows.Absmax(tensor.Name, firstRow + row, values.Slice(row * columns, columns)));
            }

            return largest;
        }
    }

    private readonly struct QuantizedRows(TensorConversion owner, SourceBlock block) : IRowOperation
    {
        public unsafe float Run<T>(ReadOnlySpan<T> values, int columns)
            where T : unmanaged
        {
            PlannedLayer layer = owner._work.Layer!;
            Span<sbyte> quantized = block.Quantized(block.Count * columns);
            for (int row = 0; row < block.Count; row++)
            {
                ReadOnlySpan<T> source = values.Slice(row * columns, columns);
                int n = (int)block.First + row;
                float absmax = WeightRows.Absmax(owner.Name, n, source);
                absmax = float.IsNaN(owner._tensorAbsmax) ? absmax : owner._tensorAbsmax;
                StoredWeightRows.Quantize(source, absmax, quantized.Slice(row * columns, columns));
                owner._absmax[n] = absmax;
                if (layer.OutlierColumns is { } outliers)
                {
                    Span<T> kept = MemoryMarshal.Cast<byte, T>(owner._outliers.AsSpan());
                    for (int i = 0; i < outliers.Count; i++)
                    {
                        kept[(i * layer.OutputFeatures) + n] = source[outliers[i]];
                    }
                }
            }

            owner.Shard.Write(owner.Name, block.First * columns, MemoryMarshal.AsBytes(quantized));
            return 0;
        }
    }
}
