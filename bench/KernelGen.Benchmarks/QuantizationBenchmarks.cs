extern alias runtime;

using BenchmarkDotNet.Attributes;
using KernelGen.Kernels.Specs;
using runtime::KernelGen;
using runtime::KernelGen.Tuning;

namespace KernelGen.Benchmarks;

/// <summary>Quantizing and packing the weights of a layer of 1024 inputs and 4096 outputs on one thread.</summary>
[MemoryDiagnoser]
public class QuantizationBenchmarks
{
    private const int K = 1024, N = 4096;

    private readonly Int8KernelSet set = LlmInt8.Kernels;

    private readonly WeightQuantizationOptions options = new() { MaxDegreeOfParallelism = 1 };

    private readonly float[] floats = new float[N * K];

    private readonly Half[] halves = new Half[N * K];

    /// <summary>Weights in both types.</summary>
    [GlobalSetup]
    public void Setup()
    {
        SyntheticData.Weights source = new(set.Spec, N, K, uniform: false);
        for (int n = 0; n < N; n++)
        {
            source.ReadRow(n, floats.AsSpan(n * K, K));
        }

        for (int i = 0; i < floats.Length; i++)
        {
            halves[i] = (Half)floats[i];
        }
    }

    /// <summary>From float32.</summary>
    [Benchmark(Description = "weights, float32")]
    public void FromFloat() => set.Quantize<float>(floats, N, K, options).Dispose();

    /// <summary>From float16.</summary>
    [Benchmark(Description = "weights, float16")]
    public void FromHalf() => set.Quantize<Half>(halves, N, K, options).Dispose();
}
