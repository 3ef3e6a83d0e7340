using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using KernelGen.Kernels;

namespace KernelGen.Quantization;

/// <summary>
/// The weights of outlier columns, contiguous per column. Outliers are systematic (arXiv 2208.07339, section 4): the same few columns come
/// back in every batch, so a column is read from the strided source once and kept in its own precision.
/// </summary>
internal sealed class OutlierColumnStore
{
    private readonly int _rows;

    private readonly Type _elementType;

    /// <summary>The source, where it is the packed weights: their columns are kept as int8.</summary>
    private readonly PackedWeightSource? _packed;

    /// <summary>Null once every column that will be asked for is kept.</summary>
    private WeightSource? _source;

    /// <summary>Per column null, or its weights: sbyte[], Half[], BFloat16[] or float[] as the source has them.</summary>
    private readonly Array?[] _columns;

    private readonly int _capacity;

    private int _kept;

    /// <param name="source">The original weights, or the packed ones.</param>
    /// <param name="capacity">The most columns to keep; the others are read from the source each time.</param>
    public OutlierColumnStore(WeightSource source, int capacity)
    {
        _source = source;
        _packed = source as PackedWeightSource;
        _rows = source.Rows;
        _elementType = source.ElementType;
        _capacity = capacity;
        _columns = new Array?[source.Columns];
    }

    /// <summary>Bytes of the columns kept so far, and of a source that lies in memory for the sake of the others.</summary>
    public long Bytes => ((long)_kept * _rows * (_packed is not null ? 1 : _elementType == typeof(float) ? 4 : 2)) + (_source?.Bytes ?? 0);

    /// <summary>Lets go of the source: only columns that are kept will be asked for.</summary>
    public void ReleaseSource() => _source = null;

    /// <summary>Makes a column contiguous, unless it is already or the store is full. Safe to call from several threads.</summary>
    public void Keep(int column)
    {
        if (Volatile.Read(ref _columns[column]) is not null || Volatile.Read(ref _kept) >= _capacity)
        {
            return;
        }

        lock (_columns)
        {
            if (_columns[column] is null && _kept < _capacity)
            {
                Volatile.Write(ref _columns[column], _packed is not null ? _packed.QuantizedColumn(column) : Originals(column));
                _kept++;
            }
        }
    }

    /// <summary>The weights of one column for some output features, in float32.</summary>
    public void Read(int column, int firstRow, Span<float> destination)
    {
        switch (Volatile.Read(ref _columns[column]))
        {
            case sbyte[] values:
                _packed!.Dequantize(values.AsSpan(firstRow, destination.Length), firstRow, destination);
                PrefetchNext(values, firstRow + destination.Length, destination.Length);
                break;
            case float[] values:
                Take(values, firstRow, destination);
                break;
            case Half[] values:
                Take(values, firstRow, destination);
                break;
            case BFloat16[] values:
                Take(values, firstRow, destination);
                break;
            default:
                _source!.ReadColumn(column, firstRow, destination);
                break;
        }
    }

    private static void Take<T>(T[] values, int firstRow, Span<float> destination)
        where T : unmanaged
    {
        Elements.ToSingle<T>(values.AsSpan(firstRow, destination.Length), destination);
        PrefetchNext(values, firstRow + destination.Length, destination.Length);
    }

    /// <summary>The next block's, which a multiplication asks for after thousands of weights.</summary>
    private static void PrefetchNext<T>(T[] values, int first, int count)
        where T : unmanaged => CpuVectors.Prefetch(ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(values), first), count);

    /// <summary>A column in the type it is read from, exactly.</summary>
    private Array Originals(int column)
    {
        float[] values = new float[_rows];
        _source!.ReadColumn(column, 0, values);
        if (_elementType == typeof(Half))
        {
            Half[] halves = new Half[values.Length];
            Elements.FromSingle<Half>(values, halves);
            return halves;
        }

        if (_elementType == typeof(BFloat16))
        {
            BFloat16[] halves = new BFloat16[values.Length];
            Elements.FromSingle<BFloat16>(values, halves);
            return halves;
        }

        return values;
    }
}
