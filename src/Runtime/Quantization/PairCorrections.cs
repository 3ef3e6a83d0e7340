namespace KernelGen.Quantization;

/// <summary>
/// What packing took from a panel's weights so that no pair of neighbours exceeds the limit of an instruction that sums two products in 16
/// bits. The product with what was taken is added afterwards: the sum is exact.
/// </summary>
/// <param name="width">NR, weight rows of the panel.</param>
internal sealed class PairCorrections(int width)
{
    private readonly List<Entry> _entries = [];

    private readonly int[] _starts = new int[width + 1];

    /// <summary>How many weights were reduced.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes in memory.</summary>
    public unsafe long Bytes => ((long)_entries.Capacity * sizeof(Entry)) + ((long)_starts.Length * sizeof(int));

    /// <summary>Per weight row of the panel the start of its list in <see cref="Entries"/>, and the end of the last.</summary>
    public ReadOnlySpan<int> Starts => _starts;

    /// <summary>Two reduced weights each, by weight row, then by column.</summary>
    public ReadOnlySpan<Entry> Entries => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_entries);

    /// <summary>Reduces the pairs of the next weight row that exceed the limit.</summary>
    /// <param name="lane">The weight row's index in the panel; every row once, in ascending order.</param>
    /// <param name="row">The weights of a K slice.</param>
    /// <param name="limit">The largest magnitude of a pair's sum.</param>
    public void Reduce(int lane, Span<sbyte> row, int limit)
    {
        int open = -1;
        for (int k = 0; k + 1 < row.Length; k += 2)
        {
            int excess = row[k] + row[k + 1];
            excess = excess > limit ? excess - limit : excess < -limit ? excess + limit : 0;
            if (excess == 0)
            {
                continue;
            }

            // The larger one of two weights of the same sign can give all of it.
            int column = Math.Abs((int)row[k]) >= Math.Abs((int)row[k + 1]) ? k : k + 1;
            row[column] -= (sbyte)excess;
            Count++;
            if (open < 0)
            {
                open = _entries.Count;
                _entries.Add(new Entry(column, column, (ushort)excess));
            }
            else
            {
                Entry first = _entries[open];
                _entries[open] = new Entry(first.Column0, column, first.Deltas | ((uint)excess << 16));
                open = -1;
            }
        }

        _starts[lane + 1] = _entries.Count;
    }

    /// <summary>Closes the lists when the last weight row of the panel was reduced.</summary>
    /// <param name="rows">Weight rows that there were.</param>
    public void Close(int rows)
    {
        _starts.AsSpan(rows + 1).Fill(_entries.Count);
        _entries.TrimExcess();
    }

    /// <summary>What was taken from one weight.</summary>
    public int this[int lane, int column]
    {
        get
        {
            int low = _starts[lane], high = _starts[lane + 1] - 1;
            while (low < high)
            {
                int middle = (low + high) >> 1;
                (low, high) = _entries[middle].Column1 < column ? (middle + 1, high) : (low, middle);
            }

            if (low > high)
            {
                return 0;
            }

            Entry entry = _entries[low];
            return entry.Column0 == column ? (short)entry.Deltas : entry.Column1 == column ? (short)(entry.Deltas >> 16) : 0;
        }
    }

    /// <summary>Two columns and what was taken from each, as the two 16-bit halves of a multiplier; the second may be zero.</summary>
    public readonly record struct Entry(int Column0, int Column1, uint Deltas);
}
