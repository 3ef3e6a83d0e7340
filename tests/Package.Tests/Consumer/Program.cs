using System;
using System.Diagnostics.Metrics;
using System.Linq;
using System.Numerics.Tensors;
using KernelGen;

// Multiplies by LLM.int8() with the generated kernels, and again in plain loops: the integer sums must be the same, so the results are too, but for
// the last bits of float32.
const int Rows = 5, N = 37, K = 200;
Random random = new(3);
float[] w = [.. Enumerable.Range(0, N * K).Select(_ => random.NextSingle() - 0.5f)];
float[] a = [.. Enumerable.Range(0, Rows * K).Select(i => i % K == 11 ? 30 * (random.NextSingle() - 0.5f) : random.NextSingle() - 0.5f)];
float[] result = new float[Rows * N];
using Int8Weights int8 = Mine.Kernels.Quantize<float>(w, N, K);
Mine.Kernels.MatMul<float, float>(a, Rows, int8, result);

// The same by tensors, heard by a listener.
long rows = 0;
using MeterListener listener = new();
listener.InstrumentPublished = (instrument, listener) => { if (instrument.Name == "kernelgen.matmul.rows") listener.EnableMeasurementEvents(instrument); };
listener.SetMeasurementEventCallback<long>((instrument, value, tags, state) => rows += value);
listener.Start();
float[] tensor = new float[Rows * N];
Mine.Kernels.MatMul(new ReadOnlyTensorSpan<float>(a, [Rows, K]), int8, new TensorSpan<float>(tensor, [Rows, N]));
if (!tensor.AsSpan().SequenceEqual(result) || rows != Rows)
{
    Console.WriteLine($"tensors: {(rows != Rows ? $"{rows} rows were counted" : "another result")}");
    return 1;
}

bool[] outlier = new bool[K];
for (int i = 0; i < a.Length; i++) outlier[i % K] |= Math.Abs(a[i]) >= 6;
double worst = 0;
for (int m = 0; m < Rows; m++)
    for (int n = 0; n < N; n++)
    {
        float absmaxA = 0, absmaxW = 0;
        for (int k = 0; k < K; k++) absmaxA = Math.Max(absmaxA, outlier[k] ? 0 : Math.Abs(a[m * K + k]));
        for (int k = 0; k < K; k++) absmaxW = Math.Max(absmaxW, Math.Abs(w[n * K + k]));
        float scaleA = 127 * (1 / absmaxA), scaleW = 127 * (1 / absmaxW);
        long sum = 0;
        double rest = 0;
        for (int k = 0; k < K; k++)
        {
            double q = MathF.Round(w[n * K + k] * scaleW, MidpointRounding.ToEven);
            if (outlier[k]) rest += a[m * K + k] * q * absmaxW / 127;
            else sum += (long)(MathF.Round(a[m * K + k] * scaleA, MidpointRounding.ToEven) * q);
        }

        double expected = sum * (double)absmaxA * absmaxW / (127 * 127) + rest;
        worst = Math.Max(worst, Math.Abs(result[m * N + n] - expected) / Math.Max(1, Math.Abs(expected)));
    }

Console.WriteLine($"{outlier.Count(x => x)} outlier columns; {(worst < 1e-5 ? "equal to the plain loops" : $"off by {worst}")}");
return worst < 1e-5 ? 0 : 1;

[Int8Kernel(CpuTileM = [1, 4], CpuTileN = [16])]
internal static partial class Mine;
