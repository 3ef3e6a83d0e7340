using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using KernelGen.Memory;
using KernelGen.Quantization;

namespace KernelGen.MatMul;

/// <summary>
/// Quantized activations column by column, 64 rows together, for products with single weights: the exact rest of what
/// <see cref="PairCorrections"/> took from the panels, vectorized over rows of A.
/// </summary>
/// <remarks>
/// Four columns are multiplied at once, as the panels' kernels do it: interleaved to four values a row, by vpmaddubsw and vpmaddwd. Interleaving
/// works within the halves of a vector, so rows lie in the order that makes sums come out as eight neighbouring rows each: of 16 rows 0-3 and 8-11
/// in the lower half of 32 bytes, 4-7 and 12-15 in the upper one; the next 16 behind them in each half.
/// </remarks>
internal sealed unsafe class TransposedActivations : IDisposable
{
    /// <summary>Rows that are transposed together.</summary>
    public const int PartRows = 16;

    /// <summary>Rows that lie together: a column's are a cache line.</summary>
    public const int GroupRows = 64;

    /// <summary>So few rows are read where they lie, one after the other.</summary>
    public const int FewRows = 3;

    private const int VectorRows = 2 * PartRows;

    private readonly Workspace _workspace;

    private readonly byte* _values;

    private readonly nint _groupBytes;

    /// <summary>From a column to the next, as a power of two: up to 32 rows take a vector.</summary>
    private readonly int _columnShift;

    /// <summary>Room for the activations; <see cref="Fill"/> transposes them.</summary>
    public TransposedActivations(QuantizedActivations activations, int k)
    {
        int groupRows = activations.Rows <= VectorRows ? VectorRows : GroupRows;
        _columnShift = System.Numerics.BitOperations.Log2((uint)groupRows);
        _groupBytes = (nint)((k + PartRows - 1) & -PartRows) << _columnShift;
        nint bytes = checked(_groupBytes * ((activations.Rows + groupRows - 1) / groupRows));
        _workspace = Workspace.Rent(Workspace.SizeOf<byte>(bytes));
        _values = _workspace.Take<byte>(bytes);
    }

    /// <summary>Parts that rows make.</summary>
    public static int Parts(int rows) => (rows + PartRows - 1) / PartRows;

    /// <summary>Transposes the rows of one part.</summary>
    public void Fill(QuantizedActivations activations, int part)
    {
        const int HalfVector = 16, HalfPart = 8;
        Vector128<byte>* block = stackalloc Vector128<byte>[2 * PartRows];
        byte* first = activations.Row(part * PartRows);
        int partInGroup = part % (GroupRows / PartRows);
        byte* target = _values + (part / (GroupRows / PartRows) * _groupBytes) + (partInGroup / 2 * VectorRows) + (partInGroup % 2 * HalfPart);
        for (nint k = 0; k << _columnShift < _groupBytes; k += PartRows)
        {
            // The second and third quarter change places: rows 0-3 and 8-11 are one half, 4-7 and 12-15 the other.
            for (int i = 0; i < PartRows; i++)
            {
                int row = i is >= 4 and < 12 ? i ^ 12 : i;
                block[i] = Vector128.Load(first + (row * activations.RowBytes) + k);
            }

            // Four perfect shuffles transpose 16 x 16 bytes.
            Vector128<byte>* from = block;
            Vector128<byte>* to = block + PartRows;
            for (int step = 0; step < 4; step++)
            {
                for (int i = 0; i < PartRows / 2; i++)
                {
                    to[2 * i] = Sse2.UnpackLow(from[i], from[i + (PartRows / 2)]);
                    to[(2 * i) + 1] = Sse2.UnpackHigh(from[i], from[i + (PartRows / 2)]);
                }

                Vector128<byte>* last = from;
                from = to;
                to = last;
            }

            for (int i = 0; i < PartRows; i++)
            {
                byte* column = target + ((k + i) << _columnShift);
                *(long*)column = from[i].AsInt64()[0];
                *(long*)(column + HalfVector) = from[i].AsInt64()[1];
            }
        }
    }

    /// <summary>Multiplies a group's rows with a panel's corrections.</summary>
    /// <param name="firstRow">The first row, a multiple of <see cref="GroupRows"/>.</param>
    /// <param name="rows">How many rows, up to <see cref="GroupRows"/>.</param>
    /// <param name="corrections">The slice's corrections.</param>
    /// <param name="panel">The panel.</param>
    /// <param name="firstColumn">The first column of the panel's K slice.</param>
    /// <param name="header">The panel's header, which is added to every row.</param>
    /// <param name="c">The results, row by row, of the rows and as many more as make whole eights.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Multiply(int firstRow, int rows, PairCorrections corrections, int panel, int firstColumn, int* header, int* c)
    {
        const int Lanes = 8, Eights = GroupRows / Lanes;
        int width = corrections.Width;

        // Per 8 weight rows and 8 rows of A a vector for each weight row.
        Vector256<int>* products = stackalloc Vector256<int>[width * Eights];
        byte* values = _values + (firstRow / GroupRows * _groupBytes) + ((nint)firstColumn << _columnShift);
        switch (Parts(rows))
        {
            case 1:
                SumLanes<OnePart>(values, corrections, panel, header, products);
                break;
            case 2:
                SumLanes<TwoParts>(values, corrections, panel, header, products);
                break;
            case 3:
                SumLanes<ThreeParts>(values, corrections, panel, header, products);
                break;
            default:
                SumLanes<FourParts>(values, corrections, panel, header, products);
                break;
        }

        for (int row = 0; row < rows; row += Lanes)
        {
            for (int lane = 0; lane < width; lane += Lanes)
            {
                Transpose(products + (lane * Eights) + row, c + (row * width) + lane, width);
            }
        }
    }

    public void Dispose() => _workspace.Dispose();

    private void SumLanes<TParts>(byte* values, PairCorrections corrections, int panel, int* header, Vector256<int>* sums)
        where TParts : IParts
    {
        PairCorrections.PanelLists lists = corrections.Panel(panel);
        PairCorrections.Entry* entry = lists.Entries;
        for (int list = 0; list < corrections.Width; list++)
        {
            int lane = lists.Lanes[list], count = lists.Counts[list];
            SumLane<TParts>(values, _columnShift, entry, count, header[lane], sums + (lane / 8 * GroupRows) + (lane % 8));
            entry += count;
        }

        GC.KeepAlive(corrections);
    }

    /// <summary>The products of up to 64 rows with one weight row's corrections; sums of eight rows a vector, eight vectors apart.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SumLane<TParts>(byte* at, int shift, PairCorrections.Entry* entry, int count, int start, Vector256<int>* sums)
        where TParts : IParts
    {
        Vector256<int> s0 = Vector256.Create(start), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
        for (; count > 0; count--, entry++)
        {
            byte* k0 = at + ((nint)entry->Gap0 << shift);
            byte* k1 = k0 + ((nint)entry->Gap1 << shift);
            byte* k2 = k1 + ((nint)entry->Gap2 << shift);
            byte* k3 = k2 + ((nint)entry->Gap3 << shift);
            at = k3;
            Vector256<sbyte> deltas = Vector256.Create(((int*)entry)[1]).AsSByte();
            Vector256<byte> a0 = Vector256.Load(k0), a1 = Vector256.Load(k1), a2 = Vector256.Load(k2), a3 = Vector256.Load(k3);
            Vector256<short> low = Avx2.UnpackLow(a0, a1).AsInt16(), high = Avx2.UnpackLow(a2, a3).AsInt16();
            s0 = MultiplyAdd(s0, Avx2.UnpackLow(low, high), deltas);
            s1 = MultiplyAdd(s1, Avx2.UnpackHigh(low, high), deltas);
            if (TParts.Count > 1)
            {
                low = Avx2.UnpackHigh(a0, a1).AsInt16();
                high = Avx2.UnpackHigh(a2, a3).AsInt16();
                s2 = MultiplyAdd(s2, Avx2.UnpackLow(low, high), deltas);
                s3 = MultiplyAdd(s3, Avx2.UnpackHigh(low, high), deltas);
            }

            if (TParts.Count > 2)
            {
                a0 = Vector256.Load(k0 + VectorRows);
                a1 = Vector256.Load(k1 + VectorRows);
                a2 = Vector256.Load(k2 + VectorRows);
                a3 = Vector256.Load(k3 + VectorRows);
                low = Avx2.UnpackLow(a0, a1).AsInt16();
                high = Avx2.UnpackLow(a2, a3).AsInt16();
                s4 = MultiplyAdd(s4, Avx2.UnpackLow(low, high), deltas);
                s5 = MultiplyAdd(s5, Avx2.UnpackHigh(low, high), deltas);
            }

            if (TParts.Count > 3)
            {
                low = Avx2.UnpackHigh(a0, a1).AsInt16();
                high = Avx2.UnpackHigh(a2, a3).AsInt16();
                s6 = MultiplyAdd(s6, Avx2.UnpackLow(low, high), deltas);
                s7 = MultiplyAdd(s7, Avx2.UnpackHigh(low, high), deltas);
            }
        }

        sums[0] = s0;
        sums[8] = s1;
        if (TParts.Count > 1)
        {
            sums[16] = s2;
            sums[24] = s3;
        }

        if (TParts.Count > 2)
        {
            sums[32] = s4;
            sums[40] = s5;
        }

        if (TParts.Count > 3)
        {
            sums[48] = s6;
            sums[56] = s7;
        }
    }

    /// <summary>Adds four products a row. Two of the deltas never exceed 128 together: 255 times that fits into 16 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> MultiplyAdd(Vector256<int> sums, Vector256<short> fours, Vector256<sbyte> deltas) =>
        Avx2.Add(sums, Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(fours.AsByte(), deltas), Vector256.Create((short)1)));

    /// <summary>Makes 8 rows of 8 columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(Vector256<int>* columns, int* rows, nint stride)
    {
        Vector256<long> p0 = Avx2.UnpackLow(columns[0], columns[1]).AsInt64(), p1 = Avx2.UnpackHigh(columns[0], columns[1]).AsInt64();
        Vector256<long> p2 = Avx2.UnpackLow(columns[2], columns[3]).AsInt64(), p3 = Avx2.UnpackHigh(columns[2], columns[3]).AsInt64();
        Vector256<long> p4 = Avx2.UnpackLow(columns[4], columns[5]).AsInt64(), p5 = Avx2.UnpackHigh(columns[4], columns[5]).AsInt64();
        Vector256<long> p6 = Avx2.UnpackLow(columns[6], columns[7]).AsInt64(), p7 = Avx2.UnpackHigh(columns[6], columns[7]).AsInt64();
        StoreRows(rows, stride, Avx2.UnpackLow(p0, p2), Avx2.UnpackLow(p4, p6));
        StoreRows(rows + stride, stride, Avx2.UnpackHigh(p0, p2), Avx2.UnpackHigh(p4, p6));
        StoreRows(rows + (2 * stride), stride, Avx2.UnpackLow(p1, p3), Avx2.UnpackLow(p5, p7));
        StoreRows(rows + (3 * stride), stride, Avx2.UnpackHigh(p1, p3), Avx2.UnpackHigh(p5, p7));
    }

    /// <summary>Stores a row, the lower halves, and the one four below, the upper halves.</summary>
    /// <param name="row">The row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="left">Columns 0 to 3 of both rows.</param>
    /// <param name="right">Columns 4 to 7.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreRows(int* row, nint stride, Vector256<long> left, Vector256<long> right)
    {
        Avx2.Permute2x128(left, right, 0x20).AsInt32().Store(row);
        Avx2.Permute2x128(left, right, 0x31).AsInt32().Store(row + (4 * stride));
    }

    /// <summary>How many parts of a group there are: a type, so that the compiler writes a loop for each.</summary>
    private interface IParts
    {
        static abstract int Count { get; }
    }

    private readonly struct OnePart : IParts
    {
        public static int Count => 1;
    }

    private readonly struct TwoParts : IParts
    {
        public static int Count => 2;
    }

    private readonly struct ThreeParts : IParts
    {
        public static int Count => 3;
    }

    private readonly struct FourParts : IParts
    {
        public static int Count => 4;
    }
}
