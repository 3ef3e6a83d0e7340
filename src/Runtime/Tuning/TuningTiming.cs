namespace KernelGen.Tuning;

/// <summary>Microseconds a multiplication, of one variant.</summary>
/// <param name="Samples">Every sample in the order of measurement, to the nanosecond.</param>
internal sealed record TuningTiming(IReadOnlyList<double> Samples)
{
    private readonly double[] _sorted = [.. Samples.Order()];

    /// <summary>The middle sample; between the two middle ones of an even number.</summary>
    public double Median => Quantile(0.5);

    /// <summary>The fastest sample.</summary>
    public double Minimum => _sorted[0];

    /// <summary>The slowest sample.</summary>
    public double Maximum => _sorted[^1];

    /// <summary>The range of the middle half of the samples.</summary>
    public double Spread => Rounded(Quantile(0.75) - Quantile(0.25));

    /// <summary>A timing of samples as they were measured.</summary>
    public static TuningTiming Of(IEnumerable<double> samples) => new([.. samples.Select(Rounded)]);

    private static double Rounded(double value) => Math.Round(value, 3);

    private double Quantile(double share)
    {
        double position = share * (_sorted.Length - 1);
        int low = (int)position;
        return low + 1 < _sorted.Length ? Rounded(_sorted[low] + ((position - low) * (_sorted[low + 1] - _sorted[low]))) : _sorted[low];
    }
}
