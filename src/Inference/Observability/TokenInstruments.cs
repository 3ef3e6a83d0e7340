using System.Diagnostics;
using System.Diagnostics.Metrics;
using KernelGen.Observability;

namespace KernelGen.Inference.Observability;

/// <summary>Tokens that models generate and evaluations score.</summary>
internal static class TokenInstruments
{
    public const string EvaluationActivity = "kernelgen.evaluate";

    private static readonly Counter<long> Generated = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.generation.tokens", "{token}", "Tokens that were generated.");

    private static readonly Histogram<double> TimePerToken = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.generation.token.duration", "s", "Time of a token on the processor; the first one's has the prompt in it.");

    private static readonly Counter<long> Scored = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.evaluation.tokens", "{token}", "Tokens whose probability was evaluated.");

    /// <summary>Begins a token.</summary>
    public static long StartToken() => Telemetry.Start(TimePerToken);

    /// <summary>A token was generated on the processor.</summary>
    public static void StopToken(long start, bool isFirst)
    {
        if (start != 0)
        {
            TimePerToken.Record(Telemetry.Seconds(start), new KeyValuePair<string, object?>("kernelgen.phase", isFirst ? "prompt" : "decode"));
        }

        CountGenerated(Telemetry.Cpu);
    }

    /// <summary>A token was generated.</summary>
    public static void CountGenerated(string device)
    {
        if (Generated.Enabled)
        {
            Generated.Add(1, new KeyValuePair<string, object?>(Telemetry.Device, device));
        }
    }

    /// <summary>Begins an evaluation; null where nobody listens.</summary>
    public static Activity? StartEvaluation() => Telemetry.Activities.StartActivity(EvaluationActivity);

    /// <summary>A batch of an evaluation is scored.</summary>
    public static void CountScored(long tokens) => Scored.Add(tokens);
}
