using System.Diagnostics;
using System.Diagnostics.Metrics;
using KernelGen.Inference.Transformers;
using KernelGen.Observability;
using Microsoft.Extensions.Logging;

namespace KernelGen.Inference.Observability;

/// <summary>Loading of models: an activity each, its time, and an entry of the category <c>KernelGen.Loading</c>.</summary>
internal static partial class LoadInstruments
{
    public const string ActivityName = "kernelgen.load";

    private static readonly Histogram<double> Duration = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.load.duration", "s", "Time to load a model, quantization included.");

    /// <summary>Loads a model, and says so.</summary>
    /// <param name="path">The checkpoint.</param>
    /// <param name="device"><see cref="Telemetry.Cpu"/>, or a GPU's name.</param>
    /// <param name="load">Does it.</param>
    /// <param name="describe">The model's description and its bytes.</param>
    public static TModel Measure<TModel>(string path, string device, Func<TModel> load, Func<TModel, (DecoderDescription Description, long Bytes)> describe)
    {
        long start = Stopwatch.GetTimestamp();
        using Activity? activity = Telemetry.Activities.StartActivity(ActivityName);
        activity?.SetTag(Telemetry.Device, device);
        activity?.SetTag("kernelgen.checkpoint", path);
        try
        {
            TModel model = load();
            (DecoderDescription description, long bytes) = describe(model);
            TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
            activity?.SetTag("kernelgen.family", description.Family);
            activity?.SetTag("kernelgen.bytes", bytes);
            Duration.Record(
                elapsed.TotalSeconds,
                new KeyValuePair<string, object?>(Telemetry.Device, device),
                new KeyValuePair<string, object?>("kernelgen.family", description.Family));
            ILogger logger = Telemetry.Logger("Loading");
            Loaded(logger, path, description.Family, device, bytes, elapsed);
            return model;
        }
        catch (Exception exception)
        {
            Telemetry.Fail(activity, exception);
            throw;
        }
    }

    [LoggerMessage(EventId = 400, Level = LogLevel.Information, Message = "Loaded {Path} ({Family}) on {Device}: {Bytes} bytes of parameters in {Elapsed}")]
    private static partial void Loaded(ILogger logger, string path, string family, string device, long bytes, TimeSpan elapsed);
}
