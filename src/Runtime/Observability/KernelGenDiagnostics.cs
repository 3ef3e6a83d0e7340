using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace KernelGen;

/// <summary>
/// What the library tells of its work: the names to listen for, and where log entries go. Every instrument, activity and log entry is listed in
/// docs/observability.md. Thread-safe.
/// </summary>
public static class KernelGenDiagnostics
{
    /// <summary>The name of the <see cref="System.Diagnostics.Metrics.Meter"/> that all instruments belong to.</summary>
    public const string MeterName = "KernelGen";

    /// <summary>The name of the <see cref="System.Diagnostics.ActivitySource"/> that all activities come from.</summary>
    public const string ActivitySourceName = "KernelGen";

    private static volatile ILoggerFactory s_loggerFactory = NullLoggerFactory.Instance;

    /// <summary>
    /// Makes the loggers, one per category; set it once, when the process starts. By default nothing is logged. It is not disposed by the
    /// library.
    /// </summary>
    /// <exception cref="ArgumentNullException">It is set to null; use <see cref="NullLoggerFactory"/> for none.</exception>
    public static ILoggerFactory LoggerFactory
    {
        get => s_loggerFactory;
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            s_loggerFactory = value;
        }
    }
}
