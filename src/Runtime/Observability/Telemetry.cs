using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;

namespace KernelGen.Observability;

/// <summary>The one meter and the one source of activities, and the words that tags are made of.</summary>
internal static class Telemetry
{
    /// <summary>The annotated class.</summary>
    public const string Kernels = "kernelgen.kernels";

    /// <summary>What runs them: an instruction set, or a GPU's name.</summary>
    public const string Device = "kernelgen.device";

    /// <summary>A computed kernel name.</summary>
    public const string Kernel = "kernelgen.kernel";

    /// <summary>How something ended.</summary>
    public const string Outcome = "kernelgen.outcome";

    /// <summary>The name that a processor goes by, where the instruction set does not matter.</summary>
    public const string Cpu = "cpu";

    public static readonly Meter Meter = new(KernelGenDiagnostics.MeterName, Version);

    public static readonly ActivitySource Activities = new(KernelGenDiagnostics.ActivitySourceName, Version);

    private static string? Version => typeof(Telemetry).Assembly.GetName().Version?.ToString(3);

    /// <summary>The logger of a category, <c>KernelGen.</c> and an area of the library. Not for hot paths: it is asked for anew each time.</summary>
    public static ILogger Logger(string area) => KernelGenDiagnostics.LoggerFactory.CreateLogger("KernelGen." + area);

    /// <summary>A point in time to measure from; 0 where nobody listens.</summary>
    public static long Start(Instrument instrument) => instrument.Enabled ? Stopwatch.GetTimestamp() : 0;

    /// <summary>Seconds since <see cref="Start"/>.</summary>
    public static double Seconds(long start) => Stopwatch.GetElapsedTime(start).TotalSeconds;

    /// <summary>Marks an activity as failed, with the exception's message.</summary>
    public static void Fail(Activity? activity, Exception exception)
    {
        activity?.SetStatus(ActivityStatusCode.Error, exception.Message);
        activity?.SetTag("error.type", exception.GetType().FullName);
    }
}
