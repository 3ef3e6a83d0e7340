using System.Numerics;
using System.Runtime.InteropServices;

namespace KernelGen.Inference.Outliers;

/// <summary>
/// The outliers among a stream of rows, column by column, in memory that does not grow with the number of rows: magnitudes are counted in
/// buckets of relative width 2^-9. Not for several threads at once.
/// </summary>
internal sealed class ColumnStatistics
{
    /// <summary>Of a float's 23 fraction bits, those that a bucket ignores.</summary>
    private const int IgnoredBits = 14;

    private readonly float _threshold;
    private readonly float[] _absmax;
    private readonly float[] _candidates;

    /// <summary>Per candidate threshold, how many values of each column reach it.</summary>
    private readonly int[][] _reaching;

    /// <summary>Per column its outliers by bucket (a value's leading bits, the sign among them), or null without any.</summary>
    private readonly Dictionary<int, long>?[] _outliers;

    /// <param name="columns">K, the width of a row.</param>
    /// <param name="threshold">The magnitude from which a value is an outlier.</param>
    /// <param name="candidates">Other thresholds, for which values are only counted.</param>
    public ColumnStatistics(int columns, float threshold, IEnumerable<float> candidates)
    {
        _threshold = threshold;
        _candidates = [.. candidates];
        _reaching = [.. _candidates.Select(_ => new int[columns])];
        _absmax = new float[columns];
        _outliers = new Dictionary<int, long>?[columns];
    }

    /// <summary>Rows seen, at most 2^31.</summary>
    public long Rows { get; private set; }

    /// <summary>Whether every value was a finite number.</summary>
    public bool IsFinite { get; private set; } = true;

    /// <summary>The largest magnitude of each column.</summary>
    public ReadOnlySpan<float> Absmax => _absmax;

    /// <summary>Counts rows [rows, columns].</summary>
    public void Add(ReadOnlySpan<float> values)
    {
        int columns = _absmax.Length;
        Rows = checked((int)(Rows + (values.Length / columns)));
        for (; !values.IsEmpty; values = values[columns..])
        {
            AddRow(values[..columns]);
        }
    }

    /// <summary>Adds the outliers that another instance of the same width and threshold counted, as if its rows had come here.</summary>
    public void Add(ColumnStatistics other)
    {
        Rows += other.Rows;
        IsFinite &= other.IsFinite;
        for (int k = 0; k < _absmax.Length; k++)
        {
            _absmax[k] = Math.Max(_absmax[k], other._absmax[k]);
            foreach ((int bucket, long count) in other._outliers[k] ?? [])
            {
                Count(k, bucket, count);
            }
        }
    }

    /// <summary>How many values of each column reach a candidate threshold.</summary>
    /// <param name="candidate">Its index.</param>
    public ReadOnlySpan<int> Reaching(int candidate) => _reaching[candidate];

    /// <summary>Whether a column was an outlier at any row.</summary>
    public bool HasOutliers(int column) => _outliers[column] is not null;

    /// <summary>The columns that were an outlier at any row, ascending.</summary>
    public IEnumerable<OutlierColumn> Columns() => Enumerable.Range(0, _absmax.Length).Where(HasOutliers).Select(Describe);

    /// <summary>The statistics of a column with outliers.</summary>
    public OutlierColumn Describe(int column)
    {
        (double Value, long Count)[] buckets = [.. _outliers[column]!.Select(static pair => (Middle(pair.Key), pair.Value)).OrderBy(static bucket => bucket.Item1)];
        long count = buckets.Sum(static bucket => bucket.Count);
        long positive = buckets.Where(static bucket => bucket.Value > 0).Sum(static bucket => bucket.Count);
        Quartiles quartiles = new(At(0.25), At(0.5), At(0.75));
        return new OutlierColumn(column, (double)count / Rows, _absmax[column], (double)positive / count, quartiles);

        double At(double share)
        {
            // The nearest rank: the smallest value that has this share of all at or below it.
            long rank = Math.Max(1, (long)Math.Ceiling(share * count));
            int i = 0;
            for (long below = buckets[0].Count; below < rank; below += buckets[i].Count)
            {
                i++;
            }

            return buckets[i].Value;
        }
    }

    private void AddRow(ReadOnlySpan<float> row)
    {
        Vector<float> threshold = new(_threshold), infinity = new(float.PositiveInfinity);
        Span<float> absmax = _absmax;
        int k = 0;
        for (; k <= row.Length - Vector<float>.Count; k += Vector<float>.Count)
        {
            Vector<float> magnitude = Vector.Abs(new Vector<float>(row[k..]));
            Vector.Max(magnitude, new Vector<float>(absmax[k..])).CopyTo(absmax[k..]);
            for (int i = 0; i < _candidates.Length; i++)
            {
                // What holds is -1.
                Span<int> reaching = _reaching[i].AsSpan(k);
                (new Vector<int>(reaching) - Vector.GreaterThanOrEqual(magnitude, new Vector<float>(_candidates[i]))).CopyTo(reaching);
            }

            // A NaN compares with nothing.
            IsFinite &= Vector.LessThanAll(magnitude, infinity);
            if (Vector.GreaterThanOrEqualAny(magnitude, threshold))
            {
                CountOutliers(row, k, k + Vector<float>.Count);
            }
        }

        for (int i = k; i < row.Length; i++)
        {
            absmax[i] = Math.Max(absmax[i], Math.Abs(row[i]));
            IsFinite &= float.IsFinite(row[i]);
            for (int candidate = 0; candidate < _candidates.Length; candidate++)
            {
                _reaching[candidate][i] += Math.Abs(row[i]) >= _candidates[candidate] ? 1 : 0;
            }
        }

        CountOutliers(row, k, row.Length);
    }

    private void CountOutliers(ReadOnlySpan<float> row, int first, int end)
    {
        for (int k = first; k < end; k++)
        {
            if (Math.Abs(row[k]) >= _threshold)
            {
                Count(k, BitConverter.SingleToInt32Bits(row[k]) >> IgnoredBits, 1);
            }
        }
    }

    private void Count(int column, int bucket, long count) =>
        CollectionsMarshal.GetValueRefOrAddDefault(_outliers[column] ??= [], bucket, out _) += count;

    private static double Middle(int bucket)
    {
        int bits = bucket << IgnoredBits;
        float low = BitConverter.Int32BitsToSingle(bits), high = BitConverter.Int32BitsToSingle(bits | ((1 << IgnoredBits) - 1));
        return ((double)low + high) / 2;
    }
}
