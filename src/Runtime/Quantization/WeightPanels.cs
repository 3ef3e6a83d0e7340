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

    /// <summary>Dequantizes a column of the slice for whole panels.</summary>
    /// <param name="column">The column within the slice.</param>
    /// <param name="firstPanel">The first panel.</param>
    /// <param name="panels">How many panels.</param>
    /// <param name="scales">absmax / 127 of the panels' output features.</param>
    /// <param name="destination">A value for each of them.</param>
    public void ReadColumn(int column, int firstPanel, int panels, float* scales, float* destination)
    {
        (int group, int element) = Math.DivRem(column, Family.KGroup);
        nint offset = _headerBytes + ((nint)group * Family.PanelWidth * Family.KGroup) + element;
        int width = Family.PanelWidth;
        for (int p = 0; p < panels; p++)
        {
            sbyte* weights = (sbyte*)Panel(firstPanel + p) + offset;
            if (Family.KGroup == sizeof(int))
            {
                // The column's byte of every lane moves to the top, and down again with its sign.
                for (int i = 0; i < width; i += Vector128<int>.Count)
                {
                    Vector128<int> lanes = Vector128.Load((int*)(weights - element) + i);
                    Vector128<int> w = Vector128.ShiftRightArithmetic(Vector128.ShiftLeft(lanes, 24 - (8 * element)), 24);
                    (Vector128.ConvertToSingle(w) * Vector128.Load(scales + i)).Store(destination + i);
                }
            }
            else
            {
                for (int i = 0; i < width; i++)
                {
                    destination[i] = weights[i * Family.KGroup] * scales[i];
                }
            }

            scales += width;
            destination += width;
        }
    }

    public void Dispose() => _buffer.Dispose();
}
