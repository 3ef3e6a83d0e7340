using System.Diagnostics;
using KernelGen.Inference.Benchmarks;
using KernelGen.Tuning;

namespace KernelGen.TuningBench;

/// <summary>Every variant of a workload, each with the same number of samples.</summary>
internal static class ExhaustiveSearch
{
    private const int Warmups = 3, Samples = 9, DuelSamples = 25;

    /// <summary>As <c>kernelgen bench</c> times: nine samples of four milliseconds.</summary>
    private const double SampleMicroseconds = 4000;

    /// <summary>Times every variant.</summary>
    /// <param name="workload">The shape.</param>
    /// <param name="quick">One sample each.</param>
    public static IReadOnlyDictionary<string, double> Run(TuningWorkload workload, bool quick = false)
    {
        Dictionary<string, double> times = [];
        foreach (TuningCandidate candidate in workload.Candidates.Where(static candidate => candidate.Pruned is null))
        {
            if (workload.Verify(candidate, out _) is { } wrong)
            {
                throw new InvalidOperationException($"{candidate.Name} is wrong: {wrong}");
            }

            double microseconds = quick ? 1 : SampleMicroseconds;
            for (int i = 0; i < (quick ? 0 : Warmups); i++)
            {
                workload.Sample(candidate, microseconds);
            }

            times.Add(candidate.Name, Enumerable.Range(0, quick ? 1 : Samples).Select(_ => workload.Sample(candidate, microseconds)).Min());
        }

        return times;
    }

    /// <summary>Searches, and times the choices in turn.</summary>
    public static ComparedShape Compare(TuningRecord record, BenchmarkShape shape, Func<TuningWorkload> open)
    {
        long start = Stopwatch.GetTimestamp();
        using TuningWorkload workload = open();
        IReadOnlyDictionary<string, double> times = Run(workload);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        string best = times.MinBy(static pair => pair.Value).Key;
        string[] duelists = [.. new[] { record.Chosen, best, record.Untuned }.Distinct()];
        Dictionary<string, List<double>> samples = duelists.ToDictionary(static name => name, static _ => new List<double>());
        for (int i = 0; i < DuelSamples; i++)
        {
            // Not always in the same order.
            foreach (string name in i % 2 == 0 ? duelists : duelists.Reverse())
            {
                samples[name].Add(workload.Sample(workload.Candidates.First(candidate => candidate.Name == name), SampleMicroseconds / 2));
            }
        }

        // What else the machine does makes samples longer: the fastest of as many is what the variants take.
        double Time(string name) => samples[name].Min();
        return new ComparedShape(
            shape, record.Key.Bucket, record.Chosen, best, record.Untuned, Time(record.Chosen), Time(best), Time(record.Untuned), record.Seconds, seconds,
            workload.Candidates.Count(static candidate => candidate.Pruned is null), times);
    }
}
