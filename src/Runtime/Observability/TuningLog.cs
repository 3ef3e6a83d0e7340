using Microsoft.Extensions.Logging;

namespace KernelGen.Observability;

/// <summary>Entries of the category <c>KernelGen.Tuning</c>.</summary>
internal static partial class TuningLog
{
    [LoggerMessage(
        EventId = 100,
        Level = LogLevel.Information,
        Message = "Tuned {Rows}x{InputFeatures}x{OutputFeatures} of {Kernels} on {Device}: {Chosen} at {Microseconds:F1} us, the rules' choice {Untuned}; {Seconds:F1} s for {Tried} of {Candidates} variants")]
    public static partial void Tuned(
        ILogger logger,
        int rows,
        int inputFeatures,
        int outputFeatures,
        string kernels,
        string device,
        string chosen,
        double microseconds,
        string untuned,
        double seconds,
        int tried,
        int candidates);

    [LoggerMessage(EventId = 101, Level = LogLevel.Warning, Message = "Tuning records: {Problem}")]
    public static partial void RecordsIgnored(ILogger logger, string problem);

    [LoggerMessage(EventId = 102, Level = LogLevel.Warning, Message = "A shape could not be tuned in the background: {Problem}")]
    public static partial void BackgroundTuningFailed(ILogger logger, Exception exception, string problem);
}
