using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using KernelGen.Memory;
using KernelGen.Quantization;

namespace KernelGen.MatMul;

/// <summary>
/// Quantized activations column by column, 16 rows together, for products with single weights: the exact rest of what
/// <see cref="PairCorrections"/> took from the panels, vectorized over rows of A.
/// </summary>
internal sealed unsafe class TransposedActivations : IDisposable
{
    /// <summary>Rows that lie together.</summary>
    public const int Group = 16;

    private readonly Workspace _workspace;

    private readonly sbyte* _values;

    private readonly nint _groupBytes;

    /// <summary>Room for the activations; <see cref="Fill"/> transposes them.</summary>
    public TransposedActivations(QuantizedActivations activations, int k)
    {
        _groupBytes = (nint)((k + Group - 1) & -Group) * Group;
        nint bytes = _groupBytes * Groups(activations.Rows);
        _workspace = Workspace.Rent(Workspace.SizeOf<sbyte>(bytes));
        _values = _workspace.Take<sbyte>(bytes);
    }

    /// <summary>Groups of that many rows.</summary>
    public static int Groups(int rows) => (rows + Group - 1) / Group;

    /// <summary>Transposes the rows of one group.</summary>
    public void Fill(QuantizedActivations activations, int group)
    {
        Vector128<byte>* block = stackalloc Vector128<byte>[2 * Group];
        byte* first = activations.Row(group * Group);
        sbyte* target = _values + (group * _groupBytes);
        for (nint k = 0; k * Group < _groupBytes; k += Group)
        {
            // The second and third quarter change places, so that unpacking two columns gives rows 0-7 and 8-15.
            for (int i = 0; i < Group; i++)
            {
                int row = i is >= 4 and < 12 ? i ^ 12 : i;
                block[i] = Vector128.Load(first + (row * activations.RowBytes) + k) ^ Vector128.Create((byte)0x80);
            }

            // Four perfect shuffles transpose 16 x 16 bytes.
            Vector128<byte>* from = block;
            Vector128<byte>* to = block + Group;
            for (int step = 0; step < 4; step++)
            {
                for (int i = 0; i < Group / 2; i++)
                {
                    to[2 * i] = Sse2.UnpackLow(from[i], from[i + (Group / 2)]);
                    to[(2 * i) + 1] = Sse2.UnpackHigh(from[i], from[i + (Group / 2)]);
                }

                Vector128<byte>* last = from;
                from = to;
                to = last;
            }

            for (int i = 0; i < Group; i++)
            {
                from[i].AsSByte().Store(target + ((k + i) * Group));
            }
        }
    }

    /// <summary>Adds the products of some rows with a panel's corrections to its sums.</summary>
    /// <param name="firstRow">The first row, a multiple of <see cref="Group"/>.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="corrections">The panel's corrections.</param>
    /// <param name="firstColumn">The first column of the panel's K slice.</param>
    /// <param name="c">The panel's sums of those rows.</param>
    /// <param name="cStride">Elements from one row of sums to the next.</param>
    public void AddProducts(int firstRow, int rows, PairCorrections corrections, int firstColumn, int* c, nint cStride)
    {
        ReadOnlySpan<int> starts = corrections.Starts;
        int width = starts.Length - 1;
        Vector256<int>* sums = stackalloc Vector256<int>[Group];
        fixed (PairCorrections.Entry* entries = corrections.Entries)
        {
            for (int done = 0; done < rows; done += Group)
            {
                sbyte* values = _values + ((firstRow + done) / Group * _groupBytes) + ((nint)firstColumn * Group);
                int groupRows = Math.Min(Group, rows - done);
                for (int lane = 0; lane < width; lane += Vector256<int>.Count)
                {
                    for (int i = 0; i < Vector256<int>.Count; i++)
                    {
                        (sums[i], sums[i + 8]) = SumLane(values, entries + starts[lane + i], entries + starts[lane + i + 1]);
                    }

                    int* tile = c + (done * cStride) + lane;
                    AddTransposed(sums, tile, cStride, Math.Min(groupRows, 8));
                    AddTransposed(sums + 8, tile + (8 * cStride), cStride, groupRows - 8);
                }
            }
        }
    }

    public void Dispose() => _workspace.Dispose();

    private static (Vector256<int> Low, Vector256<int> High) SumLane(sbyte* values, PairCorrections.Entry* entry, PairCorrections.Entry* end)
    {
        Vector256<int> low = Vector256<int>.Zero, high = Vector256<int>.Zero;
        for (; entry < end; entry++)
        {
            values += entry->Gap0 * Group;
            Vector256<short> a0 = Avx2.ConvertToVector256Int16(values);
            values += entry->Gap1 * Group;
            Vector256<short> a1 = Avx2.ConvertToVector256Int16(values);

            // The entry's upper two bytes, each widened to 16 bits.
            Vector256<int> word = Vector256.Create(*(int*)entry);
            Vector256<short> deltas = Avx2.Blend(Avx2.ShiftRightArithmetic(Avx2.ShiftLeftLogical(word, 8), 24).AsInt16(), Avx2.ShiftRightArithmetic(word.AsInt16(), 8), 0b1010_1010);
            low = Avx2.Add(low, Avx2.MultiplyAddAdjacent(Avx2.UnpackLow(a0, a1), deltas));
            high = Avx2.Add(high, Avx2.MultiplyAddAdjacent(Avx2.UnpackHigh(a0, a1), deltas));
        }

        return (low, high);
    }

    /// <summary>Adds 8 vectors, one a column, to 8 columns of up to 8 rows.</summary>
    private static void AddTransposed(Vector256<int>* columns, int* c, nint cStride, int rows)
    {
        if (rows <= 0)
        {
            return;
        }

        Vector256<int>* pairs = stackalloc Vector256<int>[8];
        for (int i = 0; i < 8; i += 2)
        {
            pairs[i] = Avx2.UnpackLow(columns[i], columns[i + 1]);
            pairs[i + 1] = Avx2.UnpackHigh(columns[i], columns[i + 1]);
        }

        // quads[i]: rows i and i + 4 of columns 0-3; quads[i + 4]: of columns 4-7.
        Vector256<long>* quads = stackalloc Vector256<long>[8];
        for (int i = 0; i < 8; i += 4)
        {
            quads[i] = Avx2.UnpackLow(pairs[i].AsInt64(), pairs[i + 2].AsInt64());
            quads[i + 1] = Avx2.UnpackHigh(pairs[i].AsInt64(), pairs[i + 2].AsInt64());
            quads[i + 2] = Avx2.UnpackLow(pairs[i + 1].AsInt64(), pairs[i + 3].AsInt64());
            quads[i + 3] = Avx2.UnpackHigh(pairs[i + 1].AsInt64(), pairs[i + 3].AsInt64());
        }

        for (int row = 0; row < rows; row++)
        {
            Vector256<long> left = quads[row & 3], right = quads[(row & 3) + 4];
            Vector256<int> sum = (row < 4 ? Avx2.Permute2x128(left, right, 0x20) : Avx2.Permute2x128(left, right, 0x31)).AsInt32();
            int* target = c + (row * cStride);
            (Vector256.Load(target) + sum).Store(target);
        }
    }
}
