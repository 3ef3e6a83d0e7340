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

        // Code that is called often enough is compiled again, in the background, with all optimizations: the warm-up outlasts that.
        long start = Stopwatch.GetTimestamp();
        double once = double.PositiveInfinity;
        for (int i = 0; Since(start) < WarmUpMicroseconds || i < 2 * copies; i++)
        {
            long before = Stopwatch.GetTimestamp();
            call(i % copies);
            once = Math.Min(once, Since(before));
            if (Since(start) > 4 * WarmUpMicroseconds && i >= copies)
            {
                break;
            }
        }

        int calls = copies > 1 ? copies : Math.Max(1, (int)(SampleMicroseconds / Math.Max(once, 0.5)));
        List<double> times = [];
        start = Stopwatch.GetTimestamp();
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

    private static double Since(long start) => Stopwatch.GetElapsedTime(start).TotalMicroseconds;
}
