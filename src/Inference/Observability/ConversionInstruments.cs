using System.Diagnostics;
using System.Diagnostics.Metrics;
using KernelGen.Inference.Conversion;
using KernelGen.Observability;
using Microsoft.Extensions.Logging;

namespace KernelGen.Inference.Observability;

/// <summary>Conversions: an activity each, its time, the bytes as they go, and entries of the category <c>KernelGen.Conversion</c>.</summary>
internal static partial class ConversionInstruments
{
    public const string ActivityName = "kernelgen.convert";

    private const string Scheme = "kernelgen.scheme";

    private static readonly Histogram<double> Duration = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.conversion.duration", "s", "Time of a run that finished a conversion.");

    private static readonly Counter<long> SourceBytes = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.conversion.source_bytes", "By", "Bytes of source tensors that were converted.");

    /// <summary>Bytes of the source are done.</summary>
    public static void Converted(long bytes) => SourceBytes.Add(bytes);

    /// <summary>Runs a conversion, and says so.</summary>
    public static async Task<ConversionResult> MeasureAsync(string source, string output, string scheme, Func<Task<ConversionResult>> convert)
    {
        ILogger logger = Telemetry.Logger("Conversion");
        using Activity? activity = Telemetry.Activities.StartActivity(ActivityName);
        activity?.SetTag(Scheme, scheme);
        activity?.SetTag("kernelgen.source", source);
        activity?.SetTag("kernelgen.output", output);
        Started(logger, source, output, scheme);
        try
        {
            ConversionResult result = await convert().ConfigureAwait(false);
            activity?.SetTag("kernelgen.source_bytes", result.SourceBytes);
            activity?.SetTag("kernelgen.output_bytes", result.OutputBytes);
            activity?.SetTag("kernelgen.resumed_shards", result.ResumedShards);
            Duration.Record(result.Elapsed.TotalSeconds, new KeyValuePair<string, object?>(Scheme, scheme));
            Finished(logger, source, output, result.SourceBytes, result.OutputBytes, result.Elapsed);
            return result;
        }
        catch (OperationCanceledException exception)
        {
            Telemetry.Fail(activity, exception);
            Interrupted(logger, source, output);
            throw;
        }
        catch (Exception exception)
        {
            Telemetry.Fail(activity, exception);
            Failed(logger, exception, source, output);
            throw;
        }
    }

    [LoggerMessage(EventId = 200, Level = LogLevel.Information, Message = "Converting {Source} to {Output} by {Scheme}")]
    private static partial void Started(ILogger logger, string source, string output, string scheme);

    [LoggerMessage(EventId = 201, Level = LogLevel.Information, Message = "Converted {Source} to {Output}: {SourceBytes} bytes to {OutputBytes} in {Elapsed}")]
    private static partial void Finished(ILogger logger, string source, string output, long sourceBytes, long outputBytes, TimeSpan elapsed);

    [LoggerMessage(EventId = 202, Level = LogLevel.Warning, Message = "The conversion of {Source} to {Output} was cancelled; the same one continues it")]
    private static partial void Interrupted(ILogger logger, string source, string output);

    [LoggerMessage(EventId = 203, Level = LogLevel.Error, Message = "The conversion of {Source} to {Output} failed")]
    private static partial void Failed(ILogger logger, Exception exception, string source, string output);
}
