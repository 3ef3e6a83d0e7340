using System.Diagnostics;
using System.Diagnostics.Metrics;
using KernelGen.Tuning;
using Microsoft.Extensions.Logging;

namespace KernelGen.Observability;

/// <summary>Tuning: an activity a shape, its time, and what became of the variants.</summary>
internal static class TuningInstruments
{
    public const string ActivityName = "kernelgen.tune";

    private static readonly Histogram<double> Duration = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.tuning.duration", "s", "Time to tune a shape, data and verification included.");

    private static readonly Counter<long> Variants = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.tuning.variants", "{variant}", "Variants of tuned shapes, by what became of them.");

    /// <summary>Begins the activity of a shape; null where nobody listens.</summary>
    public static Activity? Start() => Telemetry.Activities.StartActivity(ActivityName);

    /// <summary>A shape is tuned: says so to the activity, the instruments and the log.</summary>
    public static void Tuned(Activity? activity, TuningRecord record)
    {
        string device = record.Key.Target.Device.Name, kernels = record.Key.Target.Spec;
        if (activity is not null)
        {
            activity.SetTag(Telemetry.Kernels, kernels);
            activity.SetTag(Telemetry.Device, device);
            activity.SetTag("kernelgen.rows", record.Rows);
            activity.SetTag("kernelgen.output_features", record.Key.N);
            activity.SetTag("kernelgen.input_features", record.Key.K);
            activity.SetTag("kernelgen.chosen", record.Chosen);
            activity.SetTag("kernelgen.untuned", record.Untuned);
        }

        Duration.Record(record.Seconds, new KeyValuePair<string, object?>(Telemetry.Kernels, kernels), new KeyValuePair<string, object?>(Telemetry.Device, device));
        if (Variants.Enabled)
        {
            foreach (IGrouping<VariantOutcome, VariantResult> outcome in record.Variants.GroupBy(static variant => variant.Outcome))
            {
                Variants.Add(
                    outcome.Count(),
                    new KeyValuePair<string, object?>(Telemetry.Kernels, kernels),
                    new KeyValuePair<string, object?>(Telemetry.Device, device),
                    new KeyValuePair<string, object?>(Telemetry.Outcome, outcome.Key.ToString()));
            }
        }

        ILogger logger = Telemetry.Logger("Tuning");
        if (logger.IsEnabled(LogLevel.Information))
        {
            double microseconds = record.Find(record.Chosen)!.Timing?.Median ?? double.NaN;
            int tried = record.Variants.Count(static variant => variant.Timing is not null);
            TuningLog.Tuned(
                logger,
                record.Rows,
                record.Key.K,
                record.Key.N,
                kernels,
                device,
                record.Chosen,
                microseconds,
                record.Untuned,
                record.Seconds,
                tried,
                record.Variants.Count);
        }
    }
}
