using System.Globalization;

namespace KernelGen.Inference.Benchmarks;

/// <summary>One measurement, in the terms that the other libraries' benchmark programs print, so that tables can hold both.</summary>
/// <param name="Operation">What was timed, with policy and instruction set.</param>
/// <param name="Shape">M, K, N.</param>
/// <param name="Threads">Threads allowed.</param>
/// <param name="Copies">Weight copies a pass walks through: 1 is hot, more are cold.</param>
/// <param name="WeightBytes">Bytes of one weight copy in memory.</param>
/// <param name="Timing">The samples' statistics.</param>
/// <param name="Note">Anything else to know.</param>
internal sealed record BenchmarkLine(
    string Operation, BenchmarkShape Shape, int Threads, int Copies, long WeightBytes, BenchmarkTiming Timing, string Note)
{
    /// <summary>Billions of multiply-adds a second, at the median.</summary>
    public double GigaMacs => (double)Shape.M * Shape.K * Shape.N / Timing.Median * 1e-3;

    /// <summary>Weight bytes read a second, in GB, at the median.</summary>
    public double WeightGigabytes => WeightBytes / Timing.Median * 1e-3;

    /// <summary>The line as a JSON object.</summary>
    public string ToJson() => string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"peer":"kernelgen","op":"{{Operation}}","M":{{Shape.M}},"K":{{Shape.K}},"N":{{Shape.N}},"threads":{{Threads}},"weights":"{{Temperature}}","copies":{{Copies}},"reps":{{Timing.Samples}},"us_median":{{Timing.Median:F2}},"us_min":{{Timing.Minimum:F2}},"us_max":{{Timing.Maximum:F2}},"gmac_s":{{GigaMacs:F2}},"weight_gb_s":{{WeightGigabytes:F2}},"note":"{{Note}}"}""");

    /// <summary>The line as one of many programs'.</summary>
    internal ComparedLine Compared => new(
        $"kernelgen/{Operation}", PeerLines.KindOf(Operation), Shape, string.Create(CultureInfo.InvariantCulture, $"{Threads} thread(s), {Temperature}"), Timing.Median);

    /// <summary>The line for a reader.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Operation,-28} {Shape,-16} {Threads} thread(s) {Temperature,-4} {Timing.Median,10:F1} us (min {Timing.Minimum:F1}) {GigaMacs,8:F1} GMAC/s {WeightGigabytes,6:F1} GB/s {Note}");

    private string Temperature => Copies > 1 ? "cold" : "hot";
}
