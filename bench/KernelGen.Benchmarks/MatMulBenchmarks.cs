extern alias runtime;

using BenchmarkDotNet.Attributes;
using KernelGen.Kernels.Specs;
using runtime::KernelGen;
using runtime::KernelGen.Backends.Cpu;
using runtime::KernelGen.Tuning;
using Int8Weights = runtime::KernelGen.Int8Weights;

namespace KernelGen.Benchmarks;

/// <summary>A layer of 1024 inputs and 4096 outputs on one thread: LLM.int8() with six outlier columns, and the same in float32.</summary>
[MemoryDiagnoser]
public class MatMulBenchmarks
{
    private const int K = 1024, N = 4096;

    private readonly Int8KernelSet set = LlmInt8.Kernels;

    private readonly MatMulOptions options = new() { MaxDegreeOfParallelism = 1 };

    private Int8Weights weights = null!;

    private PackedFloatWeights floats = null!;

    private float[] activations = [], result = [];

    /// <summary>Rows of activations.</summary>
    [Params(1, 16, 128)]
    public int M { get; set; }

    /// <summary>Weights and activations.</summary>
    [GlobalSetup]
    public void Setup()
    {
        float[] values = new float[N * K];
        SyntheticData.Weights source = new(set.Spec, N, K, uniform: false);
        for (int n = 0; n < N; n++)
        {
            source.ReadRow(n, values.AsSpan(n * K, K));
        }

        weights = set.Quantize<float>(values, N, K);
        floats = PackedFloatWeights.Pack(values, N, K);
        activations = new float[M * K];
        for (int m = 0; m < M; m++)
        {
            SyntheticData.FillActivations(set.Spec, m, SyntheticData.OutlierColumns(set.Spec, K), activations.AsSpan(m * K, K));
        }

        result = new float[M * N];
    }

    /// <summary>Frees the weights.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        weights.Dispose();
        floats.Dispose();
    }

    /// <summary>LLM.int8().</summary>
    [Benchmark(Description = "LLM.int8()")]
    public void LlmInt8Layer() => set.MatMul<float, float>(activations, M, weights, result, options: options);

    /// <summary>float32.</summary>
    [Benchmark(Description = "float32", Baseline = true)]
    public void FloatLayer() => FloatGemm.Multiply(activations, M, floats, default, result, 1);
}
