extern alias runtime;

using BenchmarkDotNet.Attributes;
using KernelGen.Kernels.Specs;
using runtime::KernelGen;
using runtime::KernelGen.Kernels;
using runtime::KernelGen.Tuning;

namespace KernelGen.Benchmarks;

/// <summary>What it costs to ask the tuning records for a shape, with as many records as a user of several models has.</summary>
[MemoryDiagnoser]
public class DispatchBenchmarks
{
    private const int Layers = 20;

    private readonly Int8KernelSet set = LlmInt8.Kernels;

    private CpuKernelFamily family = null!;

    /// <summary>Records of 20 layers with every bucket of M.</summary>
    [GlobalSetup]
    public void Setup()
    {
        family = set.Preferred;
        CpuVariant variant = set.Cpu.Space.All.First(candidate => candidate.Family == family);
        List<TuningRecord> records = [];
        for (int layer = 1; layer <= Layers; layer++)
        {
            for (int bucket = 0; bucket < RowBucket.Count; bucket++)
            {
                records.Add(new TuningRecord(
                    new TuningKey(set.Cpu.Space.Target, "", CpuTuningSpace.Runtime, bucket, 256 * layer, 1024),
                    RowBucket.Representative(bucket),
                    0,
                    null,
                    variant.Name,
                    variant.Name,
                    [new VariantResult(variant.Name, variant.Group, VariantOutcome.Finalist, null, TuningTiming.Of([1.0]))],
                    1,
                    DateTime.UnixEpoch));
            }
        }

        KernelTuning.Use(new TuningRecords(records));
        if (set.Cpu.Schedule(family, 128, 1024, 1024) != variant.Schedule || set.Cpu.Schedule(family, 128, 1100, 1024) != variant.Schedule)
        {
            throw new InvalidOperationException("The records are not used, so there is nothing to measure.");
        }
    }

    /// <summary>A shape with a record.</summary>
    [Benchmark(Description = "tuned shape")]
    public object Tuned() => set.Cpu.Schedule(family, 128, 1024, 1024);

    /// <summary>A shape that takes the nearest record.</summary>
    [Benchmark(Description = "untuned shape, seen before")]
    public object Nearest() => set.Cpu.Schedule(family, 128, 1100, 1024);

    /// <summary>A shape that no record is near.</summary>
    [Benchmark(Description = "shape far from all records")]
    public object Far() => set.Cpu.Schedule(family, 128, 100, 100_000);
}
