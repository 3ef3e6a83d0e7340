namespace KernelGen.Quantization;

/// <summary>
/// Takes from a panel's weights what they are too large for where an instruction sums the products of two neighbours in 16 bits, and lists it:
/// the panel's part of <see cref="PairCorrections"/>.
/// </summary>
internal sealed class PairReduction
{
    private readonly List<PairCorrections.Entry> _entries = [];

    private readonly List<int> _ends = [];

    /// <summary>How many weights were reduced.</summary>
    public int Count { get; private set; }

    /// <summary>Weight rows so far.</summary>
    public int Rows => _ends.Count;

    /// <summary>Reduces the pairs of the next weight row that exceed the limit.</summary>
    /// <param name="row">The weights of a K slice.</param>
    /// <param name="limit">The largest magnitude of a pair's sum.</param>
    /// <returns>The sum of all that was taken.</returns>
    public int Reduce(Span<sbyte> row, int limit)
    {
        // An entry is complete with its fourth weight, or when the row ends.
        Span<byte> gaps = stackalloc byte[PairCorrections.Entry.Weights];
        Span<sbyte> deltas = stackalloc sbyte[PairCorrections.Entry.Weights];
        int last = 0, used = 0, taken = 0;
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
            taken += excess;
            for (; column - last > byte.MaxValue; last += byte.MaxValue)
            {
                Append(byte.MaxValue, 0, gaps, deltas, ref used);
            }

            // The kernels that add it sum two products in 16 bits as well.
            if (used % 2 == 1 && Math.Abs((int)deltas[used - 1]) + Math.Abs(excess) > limit)
            {
                Append(0, 0, gaps, deltas, ref used);
            }

            Append((byte)(column - last), (sbyte)excess, gaps, deltas, ref used);
            last = column;
        }

        while (used > 0)
        {
            Append(0, 0, gaps, deltas, ref used);
        }

        _ends.Add(_entries.Count);
        return taken;
    }

    /// <summary>The entries of one weight row; none of a row that the panel lacks.</summary>
    public ReadOnlySpan<PairCorrections.Entry> Entries(int lane) => lane < _ends.Count
        ? System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_entries)[(lane == 0 ? 0 : _ends[lane - 1]).._ends[lane]]
        : [];

    private void Append(byte gap, sbyte delta, Span<byte> gaps, Span<sbyte> deltas, ref int used)
    {
        (gaps[used], deltas[used]) = (gap, delta);
        if (++used == PairCorrections.Entry.Weights)
        {
            _entries.Add(new PairCorrections.Entry(gaps[0], gaps[1], gaps[2], gaps[3], deltas[0], deltas[1], deltas[2], deltas[3]));
            used = 0;
        }
    }
}
