using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Quantization;
using KernelGen.Kernels.Specs;
using KernelGen.MatMul;
using KernelGen.Tests;
using Xunit;
using Xunit.Abstractions;

namespace KernelGen.Inference.Tests;

/// <summary>Real inputs and outputs of bitsandbytes on CUDA: the same int8 values and outlier columns, and a result at least as exact.</summary>
public sealed class BitsAndBytesTests(ITestOutputHelper output)
{
    private static readonly string[] s_cases =
        ["decode_one_row", "many_outliers", "no_outliers", "six_outliers", "threshold_edge_and_zero_rows"];

    public static TheoryData<string> Cases() => new(s_cases);

    [SkippableTheory]
    [MemberData(nameof(Cases))]
    public void Weights_quantize_to_the_same_int8_values(string name)
    {
        using Case data = Case.Open(name);
        using Int8Weights weights = LlmInt8.Kernels.Quantize(data.Weights);
        Assert.Equal(data.Checkpoint.ReadSingles("SCB"), weights.Absmax.ToArray());
        ReadOnlySpan<sbyte> expected = data.Checkpoint.Get("CB").Span<sbyte>();
        sbyte[] row = new sbyte[data.K];
        float[] values = new float[data.K];
        int ties = 0;
        for (int n = 0; n < data.N; n++)
        {
            weights.CopyQuantizedRow(n, row);
            data.Weights.ReadRow(n, values);
            ties += CountTies(row, expected.Slice(n * data.K, data.K), values, weights.Absmax[n]);
        }

        output.WriteLine($"{name}: {ties} of {data.N * data.K} weights differ, all of them ties");
    }

    [SkippableTheory]
    [MemberData(nameof(Cases))]
    public void Activations_quantize_to_the_same_int8_values_and_outlier_columns(string name)
    {
        using Case data = Case.Open(name);
        using Int8Weights weights = LlmInt8.Kernels.Quantize(data.Weights);
        float[] a = data.Checkpoint.ReadSingles("A");
        foreach ((Int8KernelSet kernels, string prefix) in new[] { (AbsmaxVector.Kernels, "t0"), (LlmInt8.Kernels, "t6") })
        {
            (sbyte[] quantized, float[] scales, int[] outlierColumns) = Quantize(kernels, a, data.M, data.K);
            float[] absmax = data.Checkpoint.ReadSingles($"{prefix}_SCA");
            ReadOnlySpan<sbyte> expected = data.Checkpoint.Get($"{prefix}_CA").Span<sbyte>();
            if (prefix == "t6")
            {
                Assert.Equal(data.Checkpoint.Get("t6_outlier_cols").Span<long>().ToArray().Select(column => (int)column), outlierColumns);
            }

            int ties = 0;
            for (int m = 0; m < data.M; m++)
            {
                Assert.Equal(absmax[m] / 127f, scales[m]);
                ties += CountTies(quantized.AsSpan(m * data.K, data.K), expected.Slice(m * data.K, data.K), a.AsSpan(m * data.K, data.K), absmax[m]);
            }

            output.WriteLine($"{name} {prefix}: {ties} of {data.M * data.K} activations differ, all of them ties");
        }
    }

    [SkippableTheory]
    [MemberData(nameof(Cases))]
    public void The_result_is_at_least_as_exact(string name)
    {
        using Case data = Case.Open(name);
        Half[] a = data.Checkpoint.Get("A").Span<Half>().ToArray();
        float[] bias = data.Checkpoint.Contains("bias") ? data.Checkpoint.ReadSingles("bias") : [];
        double[] exact = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, double>(data.Checkpoint.Get("exact_f64").Span<byte>()).ToArray();
        foreach ((Int8KernelSet kernels, string prefix) in new[] { (AbsmaxVector.Kernels, "t0"), (LlmInt8.Kernels, "t6") })
        {
            double theirs = RelativeError(data.Checkpoint.ReadSingles($"{prefix}_out"), exact);
            foreach (OutlierWeights source in Enum.GetValues<OutlierWeights>())
            {
                using Int8Weights weights = kernels.Quantize(data.Weights, new WeightQuantizationOptions { OutlierWeights = source });
                Half[] result = new Half[data.M * data.N];
                kernels.MatMul<Half, Half>(a, data.M, weights, result, bias);
                double ours = RelativeError(Array.ConvertAll(result, x => (float)x), exact);
                output.WriteLine($"{name} {prefix} {source}: relative error {ours:E4}, bitsandbytes {theirs:E4}");
                if (source == OutlierWeights.Original || prefix == "t0")
                {
                    Assert.True(ours <= theirs, $"{name} {prefix}: {ours}, bitsandbytes {theirs}");
                }
            }
        }
    }

    /// <summary>Differences must be by one, of a value that float32 arithmetic puts within a few units in the last place of a tie.</summary>
    private static int CountTies(ReadOnlySpan<sbyte> ours, ReadOnlySpan<sbyte> theirs, ReadOnlySpan<float> values, float absmax)
    {
        int ties = 0;
        for (int k = 0; k < ours.Length; k++)
        {
            if (ours[k] != theirs[k])
            {
                double exact = values[k] * 127.0 / absmax;
                double distance = Math.Abs(exact - Math.Floor(exact) - 0.5);
                Assert.True(Math.Abs(ours[k] - theirs[k]) == 1 && distance < 1e-5, $"column {k}: {ours[k]}, not {theirs[k]}, of {exact}");
                ties++;
            }
        }

        return ties;
    }

    private static unsafe (sbyte[] Quantized, float[] Scales, int[] OutlierColumns) Quantize(Int8KernelSet kernels, float[] a, int m, int k)
    {
        Kernels.CpuKernelFamily family = kernels.CpuFamilies.First(candidate => candidate.InstructionSet == CpuInstructionSet.Scalar);
        fixed (float* values = a)
        {
            ActivationQuantizer quantizer = new(kernels.Spec, family, kernels.Spec.OutlierThreshold, 1);
            using QuantizedActivations result = quantizer.Quantize(new ActivationMatrix<float>(values, m, k, k), []);
            sbyte[] quantized = new sbyte[m * k];
            for (int i = 0; i < m; i++)
            {
                new ReadOnlySpan<sbyte>(result.Row(i), k).CopyTo(quantized.AsSpan(i * k));
            }

            return (quantized, new ReadOnlySpan<float>(result.Scales, m).ToArray(), result.Outliers.Columns);
        }
    }

    private static double RelativeError(float[] result, double[] exact)
    {
        double error = 0, norm = 0;
        for (int i = 0; i < exact.Length; i++)
        {
            error += (result[i] - exact[i]) * (result[i] - exact[i]);
            norm += exact[i] * exact[i];
        }

        return Math.Sqrt(error / norm);
    }

    private sealed class Case : IDisposable
    {
        private Case(Checkpoint checkpoint)
        {
            Checkpoint = checkpoint;
            M = (int)checkpoint.Tensors["A"].Shape[0];
            K = (int)checkpoint.Tensors["A"].Shape[1];
            N = (int)checkpoint.Tensors["W"].Shape[0];
            Weights = new MappedWeightSource(checkpoint.Get("W"), N, K);
        }

        public Checkpoint Checkpoint { get; }

        public WeightSource Weights { get; }

        public int M { get; }

        public int N { get; }

        public int K { get; }

        public static Case Open(string name)
        {
            Skip.If(RepositoryPaths.Shared is null, "The outputs of bitsandbytes are not part of the repository.");
            return new Case(Checkpoint.Open(Path.Combine(RepositoryPaths.Shared!, "peers", "bitsandbytes-cases", name + ".safetensors")));
        }

        public void Dispose() => Checkpoint.Dispose();
    }
}
