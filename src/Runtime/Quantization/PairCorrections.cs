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
        // An entry is complete with its second weight, or when the row ends.
        int last = 0, firstGap = -1, firstDelta = 0;
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
            for (; column - last > byte.MaxValue; last += byte.MaxValue)
            {
                Append(byte.MaxValue, 0);
            }

            Append(column - last, excess);
            last = column;
        }

        if (firstGap >= 0)
        {
            _entries.Add(new Entry((byte)firstGap, 0, (sbyte)firstDelta, 0));
        }

        _starts[lane + 1] = _entries.Count;

        void Append(int gap, int delta)
        {
            if (firstGap < 0)
            {
                (firstGap, firstDelta) = (gap, delta);
                return;
            }

            _entries.Add(new Entry((byte)firstGap, (byte)gap, (sbyte)firstDelta, (sbyte)delta));
            firstGap = -1;
        }
    }

    /// <summary>Closes the lists when the last weight row of the panel was reduced.</summary>
    /// <param name="rows">Weight rows that there were.</param>
    public void Close(int rows)
    {
        _starts.AsSpan(rows + 1).Fill(_entries.Count);
        _entries.TrimExcess();
    }

    /// <summary>
    /// Adds the products of one row of activations with what was taken. One row has no vectors to make: it reads its values where the panel's product
    /// has just read them.
    /// </summary>
    /// <param name="activations">The row from the slice's first column on, each value plus 128.</param>
    /// <param name="sums">The panel's sums of the row.</param>
    public unsafe void AddProducts(byte* activations, int* sums)
    {
        fixed (Entry* entries = Entries)
        {
            Entry* entry = entries;
            for (int lane = 0; lane < width; lane++)
            {
                Entry* end = entries + _starts[lane + 1];
                byte* at = activations;
                int sum = 0;
                for (; entry < end; entry++)
                {
                    at += entry->Gap0;
                    sum += (*at - 128) * entry->Delta0;
                    at += entry->Gap1;
                    sum += (*at - 128) * entry->Delta1;
                }

                sums[lane] += sum;
            }
        }
    }

    /// <summary>Gives back to a weight row what was taken from it.</summary>
    /// <param name="lane">The weight row's index in the panel.</param>
    /// <param name="row">Its reduced weights.</param>
    public void Restore(int lane, Span<sbyte> row)
    {
        int column = 0;
        foreach (Entry entry in Entries[_starts[lane].._starts[lane + 1]])
        {
            row[column += entry.Gap0] += entry.Delta0;
            row[column += entry.Gap1] += entry.Delta1;
        }
    }

    /// <summary>What was taken from one weight.</summary>
    public int this[int lane, int column]
    {
        get
        {
            int at = 0, taken = 0;
            for (int i = _starts[lane]; i < _starts[lane + 1] && at <= column; i++)
            {
                Entry entry = _entries[i];
                taken += (at += entry.Gap0) == column ? entry.Delta0 : 0;
                taken += (at += entry.Gap1) == column ? entry.Delta1 : 0;
            }

            return taken;
        }
    }

    /// <summary>
    /// Two weights of a row in four bytes: how many columns each is behind the one before, from column 0, and what was taken from it. Where columns are
    /// further apart than a byte tells, nothing is taken from one between them.
    /// </summary>
    public readonly record struct Entry(byte Gap0, byte Gap1, sbyte Delta0, sbyte Delta1);
}
