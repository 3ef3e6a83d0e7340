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

    private readonly int _rows;

    private readonly int _headerBytes;

    public WeightPanels(CpuKernelFamily family, int rows, int firstColumn, int k)
    {
        Family = family;
        _rows = rows;
        FirstColumn = firstColumn;
        Columns = k;
        KGroups = (k + family.KGroup - 1) / family.KGroup;
        _headerBytes = family.Format == ActivationFormat.UInt8 ? family.PanelWidth * sizeof(int) : 0;
        PanelBytes = _headerBytes + ((nint)KGroups * family.PanelWidth * family.KGroup);
        PanelCount = (rows + family.PanelWidth - 1) / family.PanelWidth;
        _buffer = new AlignedBuffer<byte>(PanelBytes * PanelCount);
    }

    public CpuKernelFamily Family { get; }

    /// <summary>The first column of the slice, a multiple of the family's K group.</summary>
    public int FirstColumn { get; }

    /// <summary>Columns of the slice.</summary>
    public int Columns { get; }

    public int KGroups { get; }

    public nint PanelBytes { get; }

    public int PanelCount { get; }

    public long Bytes => _buffer.Bytes;

    public byte* Panel(int index) => _buffer.Pointer + (index * PanelBytes);

    /// <summary>Packs the slice of one panel's int8 rows.</summary>
    /// <param name="index">The panel.</param>
    /// <param name="source">The panel's rows, row-major and contiguous.</param>
    /// <param name="rowLength">Values of a whole row, of which the slice is a part.</param>
    public void Pack(int index, ReadOnlySpan<sbyte> source, int rowLength)
    {
        int count = Math.Min(Family.PanelWidth, _rows - (index * Family.PanelWidth));
        ArgumentOutOfRangeException.ThrowIfNotEqual(source.Length, count * rowLength);
        fixed (sbyte* first = source)
        {
            Family.PackPanel(ref *(first + FirstColumn), rowLength, count, Columns, ref *Panel(index));
        }
    }

    /// <summary>The quantized weight of one output feature and column of the slice.</summary>
    public sbyte this[int row, int column]
    {
        get
        {
            (int panel, int lane) = Math.DivRem(row, Family.PanelWidth);
            (int group, int element) = Math.DivRem(column, Family.KGroup);
            nint offset = _headerBytes + ((((nint)group * Family.PanelWidth) + lane) * Family.KGroup) + element;
            return ((sbyte*)Panel(panel))[offset];
        }
    }

    public void Dispose() => _buffer.Dispose();
}
