using KernelGen.MatMul;
using KernelGen.Reference;
using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>Tuning on the processor: whatever it chooses, the results' bits stay; and what it chose is used.</summary>
[Collection(nameof(CpuTuningTests))]
[CollectionDefinition(nameof(CpuTuningTests), DisableParallelization = true)]
public sealed class CpuTuningTests : IDisposable
{
    private static readonly CpuSchedule[] Schedules =
    [
        new(1, 48, 64, 1 << 20), new(1, 192, 256, 1), new(1, 16, 64, 64), new(int.MaxValue, 96, 128, 1 << 10), new(int.MaxValue, 16, 256, 1), new(int.MaxValue, 192, 64, 1 << 18),
    ];

    private readonly TuningRecords _before = KernelTuning.Records;

    public static TheoryData<string, string> Families => TestSpecs.Families();

    public void Dispose() => KernelTuning.Use(_before);

    [Theory]
    [MemberData(nameof(Families))]
    public void Every_way_to_cut_the_work_gives_the_same_bits(string setName, string familyName)
    {
        Int8KernelSet set = TestSpecs.All[setName];
        CpuKernelFamily family = TestSpecs.Family(setName, familyName);
        const int N = 150, K = 130;
        using Int8Weights weights = set.Quantize(
            new SyntheticData.Weights(set.Spec, N, K, uniform: false),
            new WeightQuantizationOptions { FixedOutlierColumns = set.Spec.Outliers == OutlierPolicy.Fixed ? SyntheticData.OutlierColumns(set.Spec, K) : null },
            family);
        foreach (int rows in (int[])[1, 3, 50, 200])
        {
            float[] a = new float[rows * K], expected = new float[rows * N];
            for (int m = 0; m < rows; m++)
            {
                SyntheticData.FillActivations(set.Spec, m, SyntheticData.OutlierColumns(set.Spec, K), a.AsSpan(m * K, K));
            }

            set.Multiply<float, float>(a, rows, weights, expected, default, null, CpuSchedule.Default(family, rows));
            foreach (CpuSchedule any in Schedules)
            {
                CpuSchedule schedule = any with
                {
                    TileRows = Math.Min(any.TileRows, family.Variants[^1].Tile.M),
                    BlockRows = family.PairLimit == 0 ? any.BlockRows : (any.BlockRows + TransposedActivations.GroupRows - 1) / TransposedActivations.GroupRows * TransposedActivations.GroupRows,
                };
                float[] result = new float[expected.Length];
                set.Multiply<float, float>(a, rows, weights, result, default, null, schedule);
                Assert.Equal(expected, result);
            }
        }
    }

    [Theory]
    [InlineData(nameof(Columns))]
    [InlineData(nameof(ElementsPolicy))]
    [InlineData(nameof(FixedColumns))]
    [InlineData(nameof(NoOutliers))]
    [InlineData(nameof(OneScale))]
    [InlineData(nameof(OneScaleColumns))]
    [InlineData(nameof(RowScales))]
    [InlineData(nameof(ZeroPoints))]
    [InlineData(nameof(ZeroPointFixedRows))]
    [InlineData(nameof(ZeroPointColumns))]
    [InlineData(nameof(ZeroPointElements))]
    [InlineData(nameof(LongSums))]
    [InlineData(nameof(LongZeroPointSums))]
    public void Every_spec_passes_verification_and_gets_a_record_that_is_read_again(string setName)
    {
        foreach ((int rows, int n, int k) in ((int, int, int)[])[(3, 70, 96), (40, 33, 200)])
        {
            TuningRecord record = Tuner.Tune(() => new CpuTuningWorkload(TestSpecs.All[setName], rows, n, k), ceilings: null);
            Assert.DoesNotContain(record.Variants, static variant => variant.Outcome is VariantOutcome.Wrong or VariantOutcome.Failed);
            Assert.Equal(record.Variants[0].Name, record.Chosen);
            Assert.Contains(record.Variants, variant => variant.Name == record.Untuned && variant.Outcome == VariantOutcome.Finalist);
            Assert.Equal(record.Key, TuningRecordJson.Read(TuningRecordJson.Write(record)).Key);
        }
    }

    [Fact]
    public void A_kernel_that_is_wrong_in_one_place_is_found()
    {
        Int8KernelSet good = Columns.Kernels;
        bool broken = false;
        Int8KernelSet bad = new("Bad", good.Spec, [.. good.CpuFamilies.Select(family => new CpuKernelFamily(
            family.InstructionSet, family.PanelWidth, family.KGroup, family.Format, family.PairLimit, family.QuantizeRow, family.PackPanel, family.Rows,
            [.. family.Variants.Select(Broken)], family.WideRow))], [], "0");
        using CpuTuningWorkload workload = new(bad, 70, 100, 64);
        TuningCandidate[] candidates = [.. workload.Candidates.Where(static candidate => candidate.Pruned is null)];
        Assert.Null(workload.Verify(candidates[0], out _));
        broken = true;
        Assert.Contains("the oracle says", workload.Verify(candidates[1], out _), StringComparison.Ordinal);
        broken = false;
        Assert.Null(workload.Verify(candidates[2], out _));

        CpuGemmVariant Broken(CpuGemmVariant variant) => variant with
        {
            Gemm = (ref byte a, nint aStride, ref byte panel, nint kGroups, ref int start, nint startStride, ref int c, nint cStride) =>
            {
                variant.Gemm(ref a, aStride, ref panel, kGroups, ref start, startStride, ref c, cStride);
                c += broken ? 1 : 0;
            },
        };
    }

    [Fact]
    public void A_wrong_variant_that_came_first_is_unmasked_by_the_first_right_one()
    {
        Int8Spec spec = new();
        const int Rows = 40, N = 300, K = 64;
        SyntheticData.Weights weights = new(spec, N, K, uniform: false);
        int[] outliers = SyntheticData.OutlierColumns(spec, K);
        ResultOracle oracle = new(spec, Rows, weights, outliers, OutlierOrder.Apart);
        ResultVerifier verifier = new(oracle, [.. Enumerable.Range(0, Rows)], N, ElementFormat.Float32);
        float[] right = new float[Rows * N];
        for (int i = 0; i < right.Length; i++)
        {
            right[i] = oracle.At(i / N, i % N);
        }

        // Where the oracle does not look.
        int unseen = Enumerable.Range(0, right.Length).First(i => !oracle.Rows.Contains(i / N) && !oracle.Columns.Contains(i % N));
        float[] wrong = [.. right];
        wrong[unseen] += 1;
        Assert.Null(verifier.Check("first", System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(wrong)));
        Assert.Null(verifier.Check("second", System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(right)));
        Assert.Equal("first", Assert.Single(verifier.Revoked).Key);
        Assert.NotNull(verifier.Check("third", System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(wrong)));
    }

    [Fact]
    public void A_record_decides_the_family_of_weights_and_the_cut_of_multiplications()
    {
        Int8KernelSet set = Columns.Kernels;
        CpuKernelFamily[] runnable = [.. set.CpuFamilies.Where(static family => Backends.Cpu.CpuFeatures.Supports(family.InstructionSet))];
        CpuKernelFamily other = runnable.First(family => family != set.Preferred && family.PairLimit == 0);
        CpuVariant chosen = set.Cpu.Space.All.First(variant => variant.Family == other && variant.Schedule.BlockRows == 192 && variant.Schedule.BlockColumns == 128);
        KernelTuning.Use(new TuningRecords([RecordOf(set, chosen, 128, 96, 64)]));
        Assert.Same(other, set.Cpu.Family(96, 64, static _ => true, set.Preferred));
        Assert.Equal(chosen.Schedule, set.Cpu.Schedule(other, 100, 96, 64));
        using Int8Weights weights = set.Quantize<float>(new float[96 * 64], 96, 64);
        Assert.Same(other, weights.Family);

        // Near enough, too far, and of another version of the kernels.
        Assert.Equal(chosen.Schedule, set.Cpu.Schedule(other, 100, 192, 64));
        Assert.Equal(CpuSchedule.Default(other, 100), set.Cpu.Schedule(other, 100, 9600, 6400));
        Assert.Equal(CpuSchedule.Default(set.Preferred, 100), set.Cpu.Schedule(set.Preferred, 100, 96, 64));
        KernelTuning.Use(new TuningRecords([]));
        Assert.Same(set.Preferred, set.Cpu.Family(96, 64, static _ => true, set.Preferred));
    }

    [Fact]
    public void Choosing_allocates_nothing()
    {
        Int8KernelSet set = Columns.Kernels;
        CpuVariant chosen = set.Cpu.Space.All.First(variant => variant.Family == set.Preferred);
        KernelTuning.Use(new TuningRecords([RecordOf(set, chosen, 128, 96, 64)]));
        _ = set.Cpu.Schedule(set.Preferred, 100, 96, 64);
        _ = set.Cpu.Schedule(set.Preferred, 100, 192, 64);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            _ = set.Cpu.Schedule(set.Preferred, 100, 96, 64);
            _ = set.Cpu.Schedule(set.Preferred, 100, 192, 64);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public async Task A_shape_is_tuned_in_the_background_on_request_and_used_then()
    {
        Int8KernelSet set = NoOutliers.Kernels;
        string cache = Path.Combine(Path.GetTempPath(), $"kernelgen-cache-{Guid.NewGuid():N}");
        string? before = Environment.GetEnvironmentVariable(CacheFolder.Variable);
        Environment.SetEnvironmentVariable(CacheFolder.Variable, cache);
        try
        {
            KernelTuning.Use(new TuningRecords([]));
            KernelTuning.TuneInBackground = true;
            using Int8Weights weights = set.Quantize<float>(new float[40 * 48], 40, 48);
            set.MatMul<float, float>(new float[3 * 48], 3, weights, new float[3 * 40]);
            await KernelTuning.WhenIdle().WaitAsync(TimeSpan.FromMinutes(5));
            TuningRecord record = Assert.Single(KernelTuning.Records.All);
            Assert.Equal((1, 40, 48), (record.Key.Bucket, record.Key.N, record.Key.K));
            Assert.Equal(record.Key, Assert.Single(KernelTuning.Database!.Load().Records).Key);
            CpuVariant chosen = set.Cpu.Space.Find(record.Chosen)!;
            Assert.Equal(chosen.Schedule, set.Cpu.Schedule(chosen.Family, 3, 40, 48));
        }
        finally
        {
            KernelTuning.TuneInBackground = false;
            Environment.SetEnvironmentVariable(CacheFolder.Variable, before);
            if (Directory.Exists(cache))
            {
                Directory.Delete(cache, recursive: true);
            }
        }
    }

    private static TuningRecord RecordOf(Int8KernelSet set, CpuVariant chosen, int rows, int n, int k) => new(
        new TuningKey(set.Cpu.Space.Target, "", CpuTuningSpace.Runtime, RowBucket.Of(rows), n, k),
        rows,
        0,
        null,
        chosen.Name,
        chosen.Name,
        [new VariantResult(chosen.Name, chosen.Group, VariantOutcome.Finalist, null, TuningTiming.Of([1.0]))],
        1,
        new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc));
}
