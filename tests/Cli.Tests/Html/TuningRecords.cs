using KernelGen.Tuning;

namespace KernelGen.Cli.Tests.Html;

/// <summary>Tuning records that nothing has to be measured for.</summary>
internal static class TuningRecords
{
    public const string Fast = "int8_gemm_u8s8_s32_6x16c4_avxvnni_b48x64_t20", Slow = "int8_gemm_s8_s32_4x16c2_avx2_b48x128_t20", Pruned = "int8_gemm_s8_s32_1x4c1_scalar";

    /// <summary>Two shapes: on the first the untuned variant was the best, on the second another was twice as fast.</summary>
    public static TuningRecord[] Create(string device = "A processor", bool ceilings = true) =>
        [Record(device, 16, 768, Fast, Fast, [100, 101, 103.5, 99], [250, 260], ceilings), Record(device, 1, 3072, Fast, Slow, [50.25, 50.75], [101, 102, 103], ceilings)];

    private static TuningRecord Record(string device, int m, int n, string chosen, string untuned, double[] fast, double[] slow, bool ceilings) => new(
        new TuningKey(
            new TuningTarget(new TuningDevice("cpu", device, "X64 avx2", 8), "A.Spec", "0123456789abcdef", "fedcba9876543210", "0.1.0", ElementFormat.Float32),
            "",
            ".NET 10",
            RowBucket.Of(m),
            n,
            512),
        m,
        6,
        ceilings ? new TuningCeilings(4e10, 1.5e12, 7e11, "vpdpbusd", "fma") : null,
        untuned,
        chosen,
        [
            new VariantResult(Fast, "vnni", VariantOutcome.Finalist, null, new TuningTiming(fast)),
            new VariantResult(Slow, "avx2", chosen == untuned ? VariantOutcome.Eliminated : VariantOutcome.Finalist, chosen == untuned ? "2.5 times the best" : null, new TuningTiming(slow)),
            new VariantResult(Pruned, "scalar", VariantOutcome.Pruned, $"a rule of {device}", null),
        ],
        1.25,
        new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc));
}
