using KernelGen.Backends.Cpu;
using KernelGen.Kernels;
using KernelGen.Kernels.Specs;
using KernelGen.MatMul;
using KernelGen.Tuning;

namespace KernelGen.Inference.Benchmarks;

/// <summary>Times this library's matrix multiplications on the processor, on normally distributed weights and activations.</summary>
internal static class CpuBenchmark
{
    /// <summary>Cold weights are for few rows, where reading them takes the time.</summary>
    private const int MostColdRows = 16;

    private const int FewestCopies = 2, MostCopies = 64;

    /// <summary>Times; a line comes as soon as it is measured.</summary>
    /// <param name="options">What to time.</param>
    /// <exception cref="NotSupportedException">This processor does not have the instruction set.</exception>
    public static IEnumerable<BenchmarkLine> Run(CpuBenchmarkOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Int8KernelSet set = KernelsFor(options.Policy);
        CpuKernelFamily family = FamilyOf(set, options.InstructionSet);
        return Lines(options, set, family);
    }

    private static IEnumerable<BenchmarkLine> Lines(CpuBenchmarkOptions options, Int8KernelSet set, CpuKernelFamily family)
    {
        float[] weights = [];
        (int K, int N) last = default;
        foreach (BenchmarkShape shape in options.Shapes)
        {
            if (last != (shape.K, shape.N))
            {
                last = (shape.K, shape.N);
                weights = Normal(shape.N, shape.K, seed: 1);
            }

            float[] activations = WithOutliers(Normal(shape.M, shape.K, seed: 2), shape, options.OutlierColumns);
            foreach (CpuBenchmarkOperation operation in options.Operations)
            {
                bool[] colds = shape.M <= MostColdRows ? [true, false] : [false];
                foreach (bool cold in colds)
                {
                    foreach (int threads in options.Threads)
                    {
                        yield return operation switch
                        {
                            CpuBenchmarkOperation.Int8Gemm => Int8Gemm(options, set, family, shape, weights, threads, cold),
                            CpuBenchmarkOperation.Float32 => Float32(options, shape, weights, activations, threads, cold),
                            _ => Layer(options, set, family, shape, weights, activations, threads, cold),
                        };
                    }
                }
            }
        }
    }

    private static unsafe BenchmarkLine Int8Gemm(
        CpuBenchmarkOptions options, Int8KernelSet set, CpuKernelFamily family, BenchmarkShape shape, float[] weights, int threads, bool cold)
    {
        using Copies<Int8Weights> copies = new(CopyCount(options, shape, cold, 1), () => Quantize(set, family, shape, weights));
        Int8MatMul multiplication = new(set.Spec, family, CpuSchedule.Default(family, shape.M));
        float[] values = Normal(shape.M, shape.K, seed: 3);
        int padded = copies.Items[0].Slices[0].PanelCount * family.PanelWidth;
        
        // The last tile may be taller than the rows that are left.
        int[] result = new int[(shape.M + family.Variants[^1].Tile.M) * padded];
        fixed (float* a = values)
        {
            fixed (int* c = result)
            {
                using QuantizedActivations quantized = new ActivationQuantizer(set.Spec, family, set.Spec.OutlierThreshold, 1)
                    .Quantize(new ActivationMatrix<float>(a, shape.M, shape.K, shape.K), []);
                int* results = c;
                BenchmarkTiming timing = BenchmarkTiming.Measure(copies.Items.Length, options.Seconds, options.Samples, i =>
                    multiplication.MultiplyInt32(quantized, copies.Items[i].Slices[0], results, padded, threads));
                return new BenchmarkLine(
                    $"s8s8s32_{Suffix(family)}c{family.KGroup}", shape, threads, copies.Items.Length, copies.Items[0].Slices[0].Bytes, timing, string.Empty);
            }
        }
    }

    private static BenchmarkLine Layer(
        CpuBenchmarkOptions options,
        Int8KernelSet set,
        CpuKernelFamily family,
        BenchmarkShape shape,
        float[] weights,
        float[] activations,
        int threads,
        bool cold)
    {
        using Copies<Int8Weights> copies = new(CopyCount(options, shape, cold, 1), () => Quantize(set, family, shape, weights));
        float[] result = new float[shape.M * shape.N];
        MatMulOptions matMul = new() { MaxDegreeOfParallelism = threads };
        BenchmarkTiming timing = BenchmarkTiming.Measure(copies.Items.Length, options.Seconds, options.Samples, i =>
            set.MatMul<float, float>(activations, shape.M, copies.Items[i], result, options: matMul));
        string policy = options.Policy.ToString().ToLowerInvariant();
        return new BenchmarkLine(
            $"dyn_f32_llmint8_{policy}_{Suffix(family)}c{family.KGroup}",
            shape,
            threads,
            copies.Items.Length,
            copies.Items[0].Slices[0].Bytes,
            timing,
            $"{options.OutlierColumns} outlier columns");
    }

    private static BenchmarkLine Float32(
        CpuBenchmarkOptions options, BenchmarkShape shape, float[] weights, float[] activations, int threads, bool cold)
    {
        using Copies<PackedFloatWeights> copies = new(
            CopyCount(options, shape, cold, sizeof(float)), () => PackedFloatWeights.Pack(weights, shape.N, shape.K));
        float[] result = new float[shape.M * shape.N];
        BenchmarkTiming timing = BenchmarkTiming.Measure(copies.Items.Length, options.Seconds, options.Samples, i =>
            FloatGemm.Multiply(activations, shape.M, copies.Items[i], default, result, threads));
        return new BenchmarkLine("f32", shape, threads, copies.Items.Length, copies.Items[0].Bytes, timing, string.Empty);
    }

    private static Int8KernelSet KernelsFor(OutlierPolicy policy) => policy switch
    {
        OutlierPolicy.Columns => LlmInt8.Kernels,
        OutlierPolicy.Elements => LlmInt8Elements.Kernels,
        OutlierPolicy.Fixed => LlmInt8Fixed.Kernels,
        _ => AbsmaxVector.Kernels,
    };

    private static CpuKernelFamily FamilyOf(Int8KernelSet set, CpuInstructionSet? instructionSet)
    {
        if (instructionSet is not { } wanted)
        {
            return set.Preferred;
        }

        return CpuFeatures.Supports(wanted)
            ? set.CpuFamilies.First(family => family.InstructionSet == wanted)
            : throw new NotSupportedException($"This processor cannot run {wanted} kernels, which need {CpuFeatures.Describe(wanted)}.");
    }

    private static Int8Weights Quantize(Int8KernelSet set, CpuKernelFamily family, BenchmarkShape shape, float[] weights) => set.Quantize(
        new MemoryWeightSource<float>(weights, shape.N, shape.K),
        new WeightQuantizationOptions { FixedOutlierColumns = set.Spec.Outliers == OutlierPolicy.Fixed ? SyntheticData.OutlierColumns(shape.K, 6) : null },
        family);

    private static string Suffix(CpuKernelFamily family) => CpuTarget.Of(family.InstructionSet).Suffix;

    private static int CopyCount(CpuBenchmarkOptions options, BenchmarkShape shape, bool cold, int elementBytes) => cold
        ? (int)Math.Clamp(Math.Ceiling(options.ColdBytes / ((double)shape.N * shape.K * elementBytes)), FewestCopies, MostCopies)
        : 1;

    /// <summary>Large one-sided values in a few columns, as trained models have them.</summary>
    private static float[] WithOutliers(float[] activations, BenchmarkShape shape, int count)
    {
        foreach (int column in SyntheticData.OutlierColumns(shape.K, count))
        {
            for (int m = 0; m < shape.M; m++)
            {
                activations[(m * shape.K) + column] = 20 + (m % 10);
            }
        }

        return activations;
    }

    private static float[] Normal(int rows, int columns, int seed)
    {
        Random random = new(seed);
        float[] values = new float[checked(rows * columns)];
        for (int i = 0; i < values.Length; i++)
        {
            // Magnitudes stay below the outlier threshold.
            double u = 1 - random.NextDouble(), v = random.NextDouble();
            values[i] = (float)Math.Clamp(Math.Sqrt(-2 * Math.Log(u)) * Math.Cos(2 * Math.PI * v), -5.5, 5.5);
        }

        return values;
    }

    /// <summary>Weight copies that are freed together.</summary>
    private sealed class Copies<T> : IDisposable
        where T : IDisposable
    {
        public Copies(int count, Func<T> create) => Items = [.. Enumerable.Range(0, count).Select(_ => create())];

        public T[] Items { get; }

        public void Dispose()
        {
            foreach (T item in Items)
            {
                item.Dispose();
            }
        }
    }
}
