using System.Diagnostics;
using System.Globalization;
using KernelGen.Inference.Benchmarks;
using KernelGen.Kernels.Specs;
using KernelGen.Tuning;

namespace KernelGen.TuningBench;

/// <summary>
/// The tuner beside an exhaustive search over all variants, on the same shapes: how far its choice is from the best, what it costs, and what tuning gains
/// over the rules. The exhaustive search's choice, the tuner's and the untuned one are timed once more in turn, since the least of many medians is too
/// small by its noise.
/// </summary>
internal static class Comparison
{
    /// <summary>Forty layers of models from 125 million to 13 billion parameters, from decoding to prefill.</summary>
    private static readonly (int K, int N)[] CpuLayers = [(768, 768), (768, 3072), (3072, 768), (1024, 1024), (1024, 4096), (4096, 1024), (2048, 2048), (2048, 8192)];

    private static readonly int[] CpuRows = [1, 8, 32, 128, 512];

    private static readonly (int K, int N)[] CudaLayers = [(768, 3072), (1024, 4096), (2048, 2048), (2048, 8192), (4096, 4096), (4096, 11008), (11008, 4096), (5120, 5120)];

    private static readonly int[] CudaRows = [1, 16, 64, 256, 2048];

    /// <param name="deviceName"><c>cpu</c> or <c>cuda:0</c>.</param>
    /// <param name="folder">Where lines and records go; null for nowhere.</param>
    /// <param name="shapeList">Other shapes, MxKxN with commas.</param>
    public static int Run(string deviceName, string? folder, string? shapeList)
    {
        bool cuda = deviceName != "cpu";
        if (folder is not null)
        {
            Directory.CreateDirectory(folder);
        }

        BenchmarkShape[] shapes = shapeList is not null
            ? [.. shapeList.Split(',').Select(BenchmarkShape.Parse)]
            : [.. from layer in cuda ? CudaLayers : CpuLayers from m in cuda ? CudaRows : CpuRows select new BenchmarkShape(m, layer.K, layer.N)];
        Int8KernelSet set = LlmInt8.Kernels;
        using CudaTuningDevice? device = cuda ? new CudaTuningDevice(CudaDevice.All[int.Parse(deviceName[5..], CultureInfo.InvariantCulture)], set.Spec, set.Name, set.CudaVariants) : null;
        TuningWorkload Open(BenchmarkShape shape) => device is null
            ? new CpuTuningWorkload(set, shape.M, shape.N, shape.K)
            : new CudaTuningWorkload(device, ElementFormat.Float16, shape.M, shape.N, shape.K);

        // What is done once per process is done before: compiling kernels, and the runtime's own warming up.
        using (TuningWorkload first = Open(shapes[0]))
        {
            _ = ExhaustiveSearch.Run(first, quick: true);
        }

        long ceilingsStart = Stopwatch.GetTimestamp();
        TuningCeilings ceilings = device is null ? CpuCeilings.Measure() : CudaCeilings.Measure(device.Context, device.Stream);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"ceilings: {ceilings.BytesPerSecond / 1e9:F0} GB/s, int8 {ceilings.Int8OperationsPerSecond / 1e12:F2} TOPS ({ceilings.Int8By}), float {ceilings.FloatOperationsPerSecond / 1e12:F2} TFLOPS ({ceilings.FloatBy}), in {Stopwatch.GetElapsedTime(ceilingsStart).TotalSeconds:F1} s"));
        Console.WriteLine(ComparedShape.Header);
        List<ComparedShape> rows = [];
        List<TuningRecord> records = [];
        foreach (BenchmarkShape shape in shapes)
        {
            TuningRecord record = Tuner.Tune(() => Open(shape), ceilings);
            ComparedShape row = ExhaustiveSearch.Compare(record, shape, () => Open(shape));
            records.Add(record);
            rows.Add(row);
            Console.WriteLine(row.ToMarkdown());
            if (folder is not null)
            {
                File.AppendAllText(Path.Combine(folder, $"compare-{deviceName.Replace(":", "")}.jsonl"), row.ToJson() + "\n");
                File.WriteAllBytes(Path.Combine(folder, $"records-{deviceName.Replace(":", "")}.json"), TuningArchive.Write(records.Select(static record => record.Compact())));
            }
        }

        ComparedShape.Summarize(rows);
        NearestRule.Summarize(rows);
        return 0;
    }
}
