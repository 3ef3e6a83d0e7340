using System.Diagnostics;

namespace KernelGen.Inference.Benchmarks;

/// <summary>Microseconds a call, over several samples.</summary>
/// <param name="Median">The middle sample.</param>
/// <param name="Minimum">The fastest sample.</param>
/// <param name="Maximum">The slowest sample.</param>
/// <param name="Samples">How many samples there are.</param>
internal sealed record BenchmarkTiming(double Median, double Minimum, double Maximum, int Samples)
{
    private const double WarmUpMicroseconds = 3e5;
    private const int MostWarmUps = 10;
    private const double StillFaster = 0.95;
    private const double SampleMicroseconds = 4000;
    private const int MostSamples = 101;

    /// <summary>
    /// Times calls. With one copy a sample is as many calls as take 4 ms; with more it is a pass over all copies, whose weights no cache holds.
    /// </summary>
    /// <param name="copies">Weight copies.</param>
    /// <param name="seconds">The least time to spend on samples.</param>
    /// <param name="samples">The fewest samples.</param>
    /// <param name="call">One call with the given copy.</param>
    public static BenchmarkTiming Measure(int copies, double seconds, int samples, Action<int> call)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(copies, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(samples, 1);
        ArgumentNullException.ThrowIfNull(call);

        double once = WarmUp(copies, call);
        int calls = copies > 1 ? copies : Math.Max(1, (int)(SampleMicroseconds / Math.Max(once, 0.5)));
        List<double> times = [];
        long start = Stopwatch.GetTimestamp();
        while (times.Count < samples || (Since(start) < seconds * 1e6 && times.Count < MostSamples))
        {
            long before = Stopwatch.GetTimestamp();
            for (int i = 0; i < calls; i++)
            {
                call(copies > 1 ? i : 0);
            }

            times.Add(Since(before) / calls);
        }

        times.Sort();
        return new BenchmarkTiming(times[times.Count / 2], times[0], times[^1], times.Count);
    }

    /// <summary>
    /// Code that is called often enough is compiled again in the background, first to be observed and then with all optimizations: calls go on until a
    /// while passes in which they become no faster.
    /// </summary>
    /// <returns>Microseconds of the fastest call.</returns>
    private static double WarmUp(int copies, Action<int> call)
    {
        double fastest = double.PositiveInfinity;
        int copy = 0;
        for (int round = 0; round < MostWarmUps; round++)
        {
            double before = fastest;
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < copies || Since(start) < WarmUpMicroseconds; i++)
            {
                long began = Stopwatch.GetTimestamp();
                call(copy);
                fastest = Math.Min(fastest, Since(began));
                copy = (copy + 1) % copies;
            }

            if (fastest > before * StillFaster)
            {
                break;
            }
        }

        return fastest;
    }

    private static double Since(long start) => Stopwatch.GetElapsedTime(start).TotalMicroseconds;
}
