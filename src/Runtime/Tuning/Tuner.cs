using System.Diagnostics;
using KernelGen.Observability;

namespace KernelGen.Tuning;

/// <summary>Tunes one shape and writes down how.</summary>
internal static class Tuner
{
    /// <param name="create">Makes the workload, which is part of what tuning takes.</param>
    /// <param name="ceilings">The device's ceilings; null where they were not measured.</param>
    /// <param name="progress">Told after every stage.</param>
    /// <param name="cancellation">Stops it.</param>
    /// <exception cref="InvalidOperationException">No variant gives right results.</exception>
    /// <exception cref="OperationCanceledException">It was stopped; nothing is known then.</exception>
    public static TuningRecord Tune(
        Func<TuningWorkload> create, TuningCeilings? ceilings, IProgress<TuningProgress>? progress = null, CancellationToken cancellation = default)
    {
        long start = Stopwatch.GetTimestamp();
        using Activity? activity = TuningInstruments.Start();
        try
        {
            using TuningWorkload workload = create();
            IReadOnlyList<VariantResult> results = TuningRace.Run(workload, progress, cancellation);
            TuningRecord record = RecordOf(workload, results, ceilings, Stopwatch.GetElapsedTime(start).TotalSeconds);
            TuningInstruments.Tuned(activity, record);
            return record;
        }
        catch (Exception exception)
        {
            Telemetry.Fail(activity, exception);
            throw;
        }
    }

    /// <summary>The record of a workload's results.</summary>
    public static TuningRecord RecordOf(TuningWorkload workload, IReadOnlyList<VariantResult> results, TuningCeilings? ceilings, double seconds)
    {
        DateTime now = DateTime.UtcNow;
        return new TuningRecord(
            workload.Key,
            workload.Rows,
            workload.OutlierColumns,
            ceilings,
            workload.Untuned,
            results[0].Name,
            results,
            Math.Round(seconds, 3),
            now.AddTicks(-(now.Ticks % TimeSpan.TicksPerSecond)));
    }
}
