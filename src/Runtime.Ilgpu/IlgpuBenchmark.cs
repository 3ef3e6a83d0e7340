using System.Globalization;
using ILGPU;
using ILGPU.Runtime;
using KernelGen.Backends.Ilgpu;

namespace KernelGen;

/// <summary>One measurement.</summary>
/// <param name="Op"><c>int8-gemm</c> (quantized activations to rounded results) or <c>llm-int8</c> (all of it).</param>
/// <param name="M">Rows of A.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output features.</param>
/// <param name="MicrosecondsMedian">Device time per multiplication, median over rounds.</param>
/// <param name="MicrosecondsMin">The fastest round's.</param>
/// <param name="Variant">The kernel.</param>
internal sealed record IlgpuBenchmarkResult(string Op, int M, int K, int N, double MicrosecondsMedian, double MicrosecondsMin, string Variant)
{
    /// <summary>10^12 integer operations per second, two per product.</summary>
    public double Tops => 2.0 * M * N * K / MicrosecondsMedian / 1e6;

    public string ToJson() => string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"op":"{{Op}}","m":{{M}},"k":{{K}},"n":{{N}},"us_median":{{MicrosecondsMedian:F2}},"us_min":{{MicrosecondsMin:F2}},"tops":{{Tops:F1}},"variant":"{{Variant}}"}""");
}

/// <summary>
/// Device time of multiplications of one shape, by events around several of them that go through different weights, so that these come from memory as they do in a
/// model. Zeros need less power and run faster, so the data are random.
/// </summary>
internal sealed class IlgpuBenchmark : IDisposable
{
    private const int Rounds = 9, Sets = 4;

    private const double RoundMicroseconds = 4000;

    private readonly IlgpuInt8MatMul matMul;
    private readonly IlgpuInt8Weights[] weights;
    private readonly MemoryBuffer1D<byte, Stride1D.Dense> input;
    private readonly MemoryBuffer1D<byte, Stride1D.Dense> output;
    private readonly int m;
    private readonly int k;
    private readonly int n;

    /// <param name="matMul">The kernels.</param>
    /// <param name="m">Rows of A.</param>
    /// <param name="k">Input features.</param>
    /// <param name="n">Output features.</param>
    /// <param name="outliers">Columns of A that hold outliers; the other values stay below 5.</param>
    public IlgpuBenchmark(IlgpuInt8MatMul matMul, int m, int k, int n, int outliers)
    {
        this.matMul = matMul;
        (this.m, this.k, this.n) = (m, k, n);
        weights = [.. Enumerable.Range(0, Sets).Select(seed => IlgpuInt8Weights.OfNoise(matMul.Accelerator, n, k, seed))];
        Random random = new(1);
        HashSet<int> columns = [];
        while (columns.Count < Math.Min(outliers, k))
        {
            columns.Add(random.Next(k));
        }

        System.Half[] values = new System.Half[m * k];
        for (int i = 0; i < values.Length; i++)
        {
            double x = (random.NextDouble() * 10) - 5;
            values[i] = (System.Half)(columns.Contains(i % k) ? (10 * x) + (7 * Math.Sign(x)) : x);
        }

        input = IlgpuHostArrays.Upload<System.Half>(matMul.Accelerator, values, "activations");
        output = matMul.Accelerator.Allocate<byte>((long)m * n * 2, "results");
    }

    /// <summary>Times one kernel.</summary>
    public IlgpuBenchmarkResult Run(string op, IlgpuKernelVariant kernel)
    {
        IlgpuMatrix a = new(input.View.BaseView, ElementFormat.Float16, k), c = new(output.View.BaseView, ElementFormat.Float16, n);
        float threshold = 6f;
        matMul.QuantizeActivations(a, m, weights[0], threshold);
        void Queue(int i)
        {
            if (op == "llm-int8")
            {
                matMul.QuantizeActivations(a, m, weights[i % Sets], threshold);
            }

            matMul.Gemm(a, m, weights[i % Sets], c, default, Activation.None, kernel, threshold);
        }

        Queue(0);
        double once = Time(1, Queue);
        int repeats = (int)Math.Clamp(RoundMicroseconds / once, 1, 64);
        _ = Time(repeats, Queue);
        double[] times = [.. Enumerable.Range(0, Rounds).Select(_ => Time(repeats, Queue)).Order()];
        return new IlgpuBenchmarkResult(op, m, k, n, times[Rounds / 2], times[0], kernel.Name);
    }

    public void Dispose()
    {
        foreach (IlgpuInt8Weights matrix in weights)
        {
            matrix.Dispose();
        }

        input.Dispose();
        output.Dispose();
    }

    /// <summary>Microseconds of device time per multiplication.</summary>
    private double Time(int repeats, Action<int> queue)
    {
        AcceleratorStream stream = matMul.Accelerator.Stream;
        using ProfilingMarker start = stream.AddProfilingMarker();
        for (int i = 0; i < repeats; i++)
        {
            queue(i);
        }

        using ProfilingMarker end = stream.AddProfilingMarker();
        matMul.Accelerator.Synchronize();
        return (end - start).TotalMicroseconds / repeats;
    }
}
