using System.Globalization;
using System.Text.Json;
using KernelGen.Inference.Benchmarks;

namespace KernelGen.TuningBench;

/// <summary>A shape by the tuner and by an exhaustive search.</summary>
/// <param name="Shape">The shape.</param>
/// <param name="Bucket">The bucket of M.</param>
/// <param name="Chosen">The tuner's choice.</param>
/// <param name="Best">The exhaustive search's.</param>
/// <param name="Untuned">What the rules take.</param>
/// <param name="ChosenTime">Microseconds of the choice, the fastest of 25 samples; all three are timed in turn.</param>
/// <param name="BestTime">Of the exhaustive search's choice.</param>
/// <param name="UntunedTime">Of the rules'.</param>
/// <param name="TunerSeconds">What the tuner took, data and verification included.</param>
/// <param name="ExhaustiveSeconds">What the search took, likewise.</param>
/// <param name="Variants">How many variants there were to try.</param>
/// <param name="Times">The exhaustive search's, by variant.</param>
internal sealed record ComparedShape(
    BenchmarkShape Shape,
    int Bucket,
    string Chosen,
    string Best,
    string Untuned,
    double ChosenTime,
    double BestTime,
    double UntunedTime,
    double TunerSeconds,
    double ExhaustiveSeconds,
    int Variants,
    IReadOnlyDictionary<string, double> Times)
{
    public const string Header = """
        | M x K x N | untuned, us | tuned, us | gain | best of all, us | from the best | variants | tuner, s | all, s | share | choice |
        |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|
        """;

    /// <summary>How much slower than the exhaustive search's choice; not below zero where the tuner's is faster.</summary>
    private double Distance => Math.Max((ChosenTime / BestTime) - 1, 0);

    private double TimeShare => TunerSeconds / ExhaustiveSeconds;

    public string ToMarkdown() => string.Create(
        CultureInfo.InvariantCulture,
        $"| {Shape} | {UntunedTime:F1} | {ChosenTime:F1} | {UntunedTime / ChosenTime:F2} | {BestTime:F1} | {Distance * 100:F1} % | {Variants} | {TunerSeconds:F3} | {ExhaustiveSeconds:F3} | {TimeShare * 100:F1} % | {Chosen} |");

    public string ToJson() => JsonSerializer.Serialize(this);

    /// <summary>Writes what the rows come to.</summary>
    public static void Summarize(List<ComparedShape> rows)
    {
        double tuner = rows.Sum(static row => row.TunerSeconds), all = rows.Sum(static row => row.ExhaustiveSeconds);
        double gain = Math.Exp(rows.Average(static row => Math.Log(row.UntunedTime / row.ChosenTime)));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{rows.Count} shapes: {rows.Count(static row => row.Distance <= 0.03)} within 3 % of the best, the farthest {rows.Max(static row => row.Distance) * 100:F1} % off; "
                + $"{tuner:F1} s against {all:F1} s, {tuner / all * 100:F1} %, at most {rows.Max(static row => row.TimeShare) * 100:F1} % for a shape; "
                + $"tuned over untuned {gain:F3} in the geometric mean, {rows.Max(static row => row.UntunedTime / row.ChosenTime):F2} at most"));
    }
}
