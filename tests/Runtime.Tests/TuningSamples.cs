using KernelGen.Tuning;

namespace KernelGen.Tests;

/// <summary>Records to test with.</summary>
internal static class TuningSamples
{
    public static TuningTarget Target { get; } = new(
        new TuningDevice(TuningDevice.Cpu, "Some \"processor\" \u00e9", "X64 avx2", 8), "Some.Spec", "0123456789abcdef", "fedcba9876543210", "0.1.0+12345678", ElementFormat.Float32);

    /// <summary>A record of a shape.</summary>
    public static TuningRecord Record(int rows = 128, int n = 3072, int k = 768, DateTime? at = null, string chosen = "fast", TuningTarget? target = null) => new(
        new TuningKey(target ?? Target, "", ".NET 10.0.1", RowBucket.Of(rows), n, k),
        rows,
        6,
        new TuningCeilings(3.5e10, 9e11, 4.4e11, "vpdpbusd, 256 bits", "fma, 512 bits"),
        "plain",
        chosen,
        [
            new VariantResult(chosen, "group", VariantOutcome.Finalist, null, TuningTiming.Of([10.1234, 11, 10.5])),
            new VariantResult("plain", "group", VariantOutcome.Finalist, null, TuningTiming.Of([14, 13.5])),
            new VariantResult("slow", "other", VariantOutcome.Eliminated, "2.00 times the best after 1 sample(s)", TuningTiming.Of([21])),
            new VariantResult("bad", "other", VariantOutcome.Wrong, "row 0, column 1 is 2, the oracle says 3", null),
            new VariantResult("foreign", "other", VariantOutcome.Pruned, "needs Arm64", null),
        ],
        0.25,
        at ?? new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc));
}
