using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using KernelGen.Kernels;
using KernelGen.Memory;

namespace KernelGen.Quantization;

/// <summary>
/// A K slice of int8 weights as a kernel family's microkernels read them: panels of NR output features, padded to whole panels. There is
/// one slice, unless K is longer than 32-bit sums may be.
/// </summary>
internal sealed unsafe class WeightPanels : IDisposable
{
    private readonly AlignedBuffer<byte> _buffer;

    private readonly byte* _first;

    private readonly int _rows;

    private readonly int _headerBytes;

    /// <summary>What packing took from each panel, until all are packed; null where the family takes any weights.</summary>
    private PairReduction[]? _reductions;

    public WeightPanels(CpuKernelFamily family, int rows, int firstColumn, int k)
    {
        Family = family;
        _rows = rows;
        FirstColumn = firstColumn;
        Columns = k;
        int round = family.KGroup * KernelLimits.KGroupMultiple;
        KGroups = (k + round - 1) / round * KernelLimits.KGroupMultiple;
        _headerBytes = family.Format == ActivationFormat.UInt8 ? family.PanelWidth * sizeof(int) : 0;
        PanelBytes = _headerBytes + ((nint)KGroups * family.PanelWidth * family.KGroup);
        PanelCount = (rows + family.PanelWidth - 1) / family.PanelWidth;
        _buffer = new AlignedBuffer<byte>(PanelBytes * PanelCount);
        _first = _buffer.Pointer;
        _reductions = family.PairLimit > 0 ? new PairReduction[PanelCount] : null;
    }

    private WeightPanels(WeightPanels other)
        : this(other.Family, other._rows, other.FirstColumn, other.Columns)
    {
        Buffer.MemoryCopy(other._first, _first, _buffer.Bytes, _buffer.Bytes);
        _reductions = null;
        Corrections = other.Corrections?.Copy();
    }

    public CpuKernelFamily Family { get; }

    /// <summary>The first column of the slice, a multiple of the family's K group.</summary>
    public int FirstColumn { get; }

    /// <summary>Columns of the slice.</summary>
    public int Columns { get; }

    public int KGroups { get; }

    public nint PanelBytes { get; }

    public int PanelCount { get; }

    public long Bytes => _buffer.Bytes + (Corrections?.Bytes ?? 0);

    /// <summary>A panel's memory: valid while the weights are not disposed, or between <see cref="AddReference"/> and <see cref="Release"/>.</summary>
    public byte* Panel(int index) => _first + (index * PanelBytes);

    /// <summary>What packing took from the weights; null where that was nothing.</summary>
    public PairCorrections? Corrections { get; private set; }

    /// <summary>The same panels elsewhere in memory.</summary>
    public WeightPanels Copy() => new(this);

    /// <summary>Packs the slice of one panel's int8 rows.</summary>
    /// <param name="index">The panel.</param>
    /// <param name="source">The panel's rows, row-major and contiguous.</param>
    /// <param name="rowLength">Values of a whole row, of which the slice is a part.</param>
    public void Pack(int index, ReadOnlySpan<sbyte> source, int rowLength)
    {
        int count = Math.Min(Family.PanelWidth, _rows - (index * Family.PanelWidth));
        ArgumentOutOfRangeException.ThrowIfNotEqual(source.Length, count * rowLength);
        if (Family.PairLimit > 0)
        {
            PackReduced(index, source, count, rowLength);
            return;
        }

        fixed (sbyte* first = source)
        {
            Family.PackPanel(ref *(first + FirstColumn), rowLength, count, Columns, ref *Panel(index));
        }
    }

    /// <summary>To be called when all panels are packed.</summary>
    public void Complete()
    {
        if (_reductions is not null && Array.Exists(_reductions, static panel => panel.Count > 0))
        {
            Corrections = new PairCorrections(_reductions, Family.PanelWidth);
        }

        _reductions = null;
    }

    /// <summary>The quantized weights of one output feature in the slice.</summary>
    /// <param name="row">The output feature.</param>
    /// <param name="destination">A value for each of the slice's columns.</param>
    public void ReadRow(int row, Span<sbyte> destination)
    {
        (int panel, int lane) = Math.DivRem(row, Family.PanelWidth);
        sbyte* weights = (sbyte*)Panel(panel) + _headerBytes + (lane * Family.KGroup);
        for (int column = 0; column < destination.Length; column++)
        {
            (int group, int element) = Math.DivRem(column, Family.KGroup);
            destination[column] = weights[((nint)group * Family.PanelWidth * Family.KGroup) + element];
        }

        Corrections?.Restore(panel, lane, destination);
    }

    /// <summary>The quantized weight of one output feature and column of the slice.</summary>
    public sbyte this[int row, int column]
    {
        get
        {
            (int panel, int lane) = Math.DivRem(row, Family.PanelWidth);
            (int group, int element) = Math.DivRem(column, Family.KGroup);
            nint offset = _headerBytes + ((((nint)group * Family.PanelWidth) + lane) * Family.KGroup) + element;
            int taken = Corrections?[panel, lane, column] ?? 0;
            return (sbyte)(((sbyte*)Panel(panel))[offset] + taken);
        }
    }

    /// <summary>Dequantizes a column of the slice for some output features.</summary>
    /// <param name="column">The column within the slice.</param>
    /// <param name="firstRow">The first output feature, which begins a panel.</param>
    /// <param name="scales">absmax / 127 of the output features from there on, padded to whole panels.</param>
    /// <param name="destination">A value for each of them.</param>
    public void ReadColumn(int column, int firstRow, ReadOnlySpan<float> scales, Span<float> destination)
    {
        (int group, int element) = Math.DivRem(column, Family.KGroup);
        int width = Family.PanelWidth;
        nint offset = _headerBytes + ((nint)group * width * Family.KGroup);
        int firstPanel = firstRow / width, done = 0;
        if (Family.KGroup == sizeof(int) && Corrections is null)
        {
            for (; done + width <= destination.Length; done += width)
            {
                int* lanes = (int*)(Panel(firstPanel + (done / width)) + offset);
                for (int i = 0; i < width; i += Vector128<int>.Count)
                {
                    // The column's byte of every lane moves to the top, and down again with its sign.
                    Vector128<int> w = Vector128.ShiftRightArithmetic(Vector128.ShiftLeft(Vector128.Load(lanes + i), 24 - (8 * element)), 24);
                    Vector128<float> scale = Vector128.LoadUnsafe(ref MemoryMarshal.GetReference(scales), (nuint)(done + i));
                    (Vector128.ConvertToSingle(w) * scale).StoreUnsafe(ref MemoryMarshal.GetReference(destination), (nuint)(done + i));
                }
            }
        }

        for (; done < destination.Length; done += width)
        {
            int panel = firstPanel + (done / width);
            sbyte* weights = (sbyte*)Panel(panel) + offset + element;
            for (int i = 0; i < Math.Min(width, destination.Length - done); i++)
            {
                destination[done + i] = (weights[i * Family.KGroup] + (Corrections?[panel, i, column] ?? 0)) * scales[done + i];
            }
        }
    }

    /// <summary>Keeps the memory from being freed, even by Dispose, until <see cref="Release"/>.</summary>
    /// <exception cref="ObjectDisposedException">It was freed.</exception>
    public void AddReference()
    {
        bool added = false;
        _buffer.DangerousAddRef(ref added);
    }

    /// <summary>Undoes <see cref="AddReference"/>.</summary>
    public void Release() => _buffer.DangerousRelease();

    public void Dispose() => _buffer.Dispose();

    /// <summary>Packs a panel's part of the slice as the family's multiply instruction can take it.</summary>
    private void PackReduced(int panel, ReadOnlySpan<sbyte> source, int rows, int rowLength)
    {
        PairReduction[] reductions = _reductions ?? throw new InvalidOperationException("The panels are complete: what was taken from their weights is put together already.");
        sbyte[] reduced = new sbyte[rows * Columns];
        int[] taken = new int[rows];
        PairReduction reduction = new();
        for (int i = 0; i < rows; i++)
        {
            Span<sbyte> row = reduced.AsSpan(i * Columns, Columns);
            source.Slice((i * rowLength) + FirstColumn, Columns).CopyTo(row);
            taken[i] = reduction.Reduce(row, Family.PairLimit);
        }

        fixed (sbyte* first = reduced)
        {
            Family.PackPanel(ref *first, Columns, rows, Columns, ref *Panel(panel));
        }

        // Sums start at -128 * sum(w), since every activation is 128 more than it is: of what was taken too, which meets the same activations.
        int* starts = (int*)Panel(panel);
        for (int i = 0; i < rows; i++)
        {
            starts[i] -= 128 * taken[i];
        }

        reductions[panel] = reduction;
    }
}
