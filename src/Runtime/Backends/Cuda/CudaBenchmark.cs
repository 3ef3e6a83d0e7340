using System.Globalization;

namespace KernelGen.Backends.Cuda;

/// <summary>One line of <c>kernelgen bench</c>.</summary>
/// <param name="Op"><c>quantize</c> (activations to int8), <c>int8-gemm</c> (quantized activations to rounded results) or <c>llm-int8</c> (all of it).</param>
/// <param name="M">Rows of A.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output features.</param>
/// <param name="MicrosecondsMedian">Device time per multiplication, median over replays.</param>
/// <param name="MicrosecondsMin">The fastest replay's.</param>
/// <param name="Variant">The kernel that was fastest.</param>
internal sealed record CudaBenchmarkResult(string Op, int M, int K, int N, double MicrosecondsMedian, double MicrosecondsMin, string Variant)
{
    /// <summary>10^12 integer operations per second, two per product.</summary>
    public double Tops => 2.0 * M * N * K / MicrosecondsMedian / 1e6;

    public string ToJson() => string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"op":"{{Op}}","m":{{M}},"k":{{K}},"n":{{N}},"us_median":{{MicrosecondsMedian:F2}},"us_min":{{MicrosecondsMin:F2}},"tops":{{Tops:F1}},"variant":"{{Variant}}"}""");
}

/// <summary>
/// Device time of multiplications, by replays of a CUDA graph that goes through several sets of inputs, so that weights come from memory as they
/// do in a model. Every variant that can run is timed; the fastest is reported.
/// </summary>
internal sealed class CudaBenchmark : IDisposable
{
    private const int Replays = 9, NoiseBytes = 1 << 22;

    private const double RotatedBytes = 300e6, ReplayMicroseconds = 4000;

    private readonly CudaContext context;
    private readonly CudaStream stream;
    private readonly CudaInt8MatMul matMul;

    public CudaBenchmark(CudaDevice device, Int8KernelSet set)
    {
        context = new CudaContext(device);
        stream = new CudaStream(context);
        matMul = new CudaInt8MatMul(context, set.Spec, set.CudaVariants);
    }

    /// <summary>The fastest variant of a shape.</summary>
    /// <inheritdoc cref="RunAll"/>
    public CudaBenchmarkResult Run(string op, int m, int k, int n, int outliers) =>
        RunAll(op, m, k, n, outliers).MinBy(result => result.MicrosecondsMedian)
        ?? throw new InvalidOperationException($"No generated kernel runs on {context.Device}.");

    /// <summary>Every variant that can run a shape.</summary>
    /// <param name="op"><c>quantize</c>, <c>int8-gemm</c> or <c>llm-int8</c>.</param>
    /// <param name="m">Rows of A.</param>
    /// <param name="k">Input features.</param>
    /// <param name="n">Output features.</param>
    /// <param name="outliers">Columns of A that hold outliers; the other values stay below 5.</param>
    /// <exception cref="ArgumentException">The operation is not known.</exception>
    /// <exception cref="CudaException">Out of device memory, or a kernel does not run.</exception>
    public IReadOnlyList<CudaBenchmarkResult> RunAll(string op, int m, int k, int n, int outliers)
    {
        if (op is not "quantize" and not "int8-gemm" and not "llm-int8")
        {
            throw new ArgumentException($"'{op}' is not an operation to measure on a GPU; use quantize, int8-gemm or llm-int8.", nameof(op));
        }

        int sets = (int)Math.Clamp(RotatedBytes / ((double)n * k), 1, 8);
        List<IDisposable> owned = [];
        try
        {
            CudaMatMulWorkspace workspace = Own(owned, new CudaMatMulWorkspace(context, stream));
            (CudaInt8Weights Weights, CudaMatrix Input, CudaMatrix Output)[] data =
                [.. Enumerable.Range(0, sets).Select(i => Inputs(owned, m, k, n, outliers, i))];
            if (op == "quantize")
            {
                CudaInt8MatMul.Reserve(workspace, matMul.Choose(m, n, k, ElementFormat.Float16), m, data[0].Weights);
                (double median, double min) = Time(sets, i => matMul.QuantizeActivations(workspace, data[i].Input, m, data[i].Weights));
                return [new CudaBenchmarkResult(op, m, k, n, median, min, "quantize")];
            }

            List<CudaBenchmarkResult> results = [];
            foreach (CudaKernelVariant variant in matMul.CandidatesFor(m, ElementFormat.Float16))
            {
                // What the kernel multiplies must be real data: zeros need less power and run faster.
                CudaInt8MatMul.Reserve(workspace, variant, m, data[0].Weights);
                matMul.QuantizeActivations(workspace, data[0].Input, m, data[0].Weights);
                (double median, double min) = Time(sets, i =>
                {
                    if (op == "llm-int8")
                    {
                        matMul.Multiply(workspace, data[i].Input, m, data[i].Weights, data[i].Output, gemm: variant);
                    }
                    else
                    {
                        matMul.Gemm(workspace, data[i].Input, m, data[i].Weights, data[i].Output, 0, Activation.None, variant, early: true);
                    }
                });
                results.Add(new CudaBenchmarkResult(op, m, k, n, median, min, variant.Name));
            }

            return results;
        }
        finally
        {
            owned.ForEach(item => item.Dispose());
        }
    }

    public void Dispose()
    {
        matMul.Dispose();
        stream.Dispose();
        context.Dispose();
    }

    private static T Own<T>(List<IDisposable> owned, T item)
        where T : IDisposable
    {
        owned.Add(item);
        return item;
    }

    /// <summary>Normally distributed activations below 5 with outlier columns from 7, weights of all int8 values.</summary>
    private (CudaInt8Weights Weights, CudaMatrix Input, CudaMatrix Output) Inputs(List<IDisposable> owned, int m, int k, int n, int outliers, int seed)
    {
        Random random = new(seed);
        byte[] noise = new byte[NoiseBytes];
        random.NextBytes(noise);
        noise.AsSpan().Replace((byte)0x80, (byte)1);
        using CudaBuffer noiseBuffer = new(context, noise.Length);
        noiseBuffer.Upload<byte>(noise, stream);
        CudaInt8Weights weights = Own(owned, new CudaInt8Weights(context, stream, n, k));
        for (long done = 0; done < weights.Quantized.Bytes; done += NoiseBytes)
        {
            weights.Quantized.CopyFrom(noiseBuffer, Math.Min(NoiseBytes, weights.Quantized.Bytes - done), stream, 0, done);
        }

        float[] steps = new float[weights.Padded];
        for (int i = 0; i < n; i++)
        {
            steps[i] = 1e-4f * random.NextSingle();
        }

        weights.Statistics.Upload<float>(steps, stream);
        HashSet<int> columns = [];
        while (columns.Count < Math.Min(outliers, k))
        {
            columns.Add(random.Next(k));
        }

        int rows = Math.Min(m, 256);
        Half[] values = new Half[rows * k];
        for (int i = 0; i < values.Length; i++)
        {
            double x = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            x = Math.Clamp(x, -5, 5);
            values[i] = (Half)(columns.Contains(i % k) ? (10 * x) + (7 * Math.Sign(x)) : x);
        }

        CudaBuffer input = Own(owned, new CudaBuffer(context, (long)m * k * 2)), output = Own(owned, new CudaBuffer(context, (long)m * n * 2));
        for (int row = 0; row < m; row += rows)
        {
            input.Upload<Half>(values.AsSpan(0, Math.Min(rows, m - row) * k), stream, (long)row * k * 2);
        }

        stream.Synchronize();
        return (weights, new CudaMatrix(input.Address, ElementFormat.Float16, k), new CudaMatrix(output.Address, ElementFormat.Float16, n));
    }

    private (double Median, double Min) Time(int sets, Action<int> queue)
    {
        using CudaEvent start = new(context), end = new(context);
        queue(0);
        start.Record(stream);
        queue(0);
        end.Record(stream);
        end.Synchronize();
        int rounds = (int)Math.Clamp(ReplayMicroseconds / (start.MicrosecondsTo(end) * sets), 1, Math.Max(1, 16 / sets));
        using CudaGraph graph = stream.Capture(() =>
        {
            for (int i = 0; i < rounds * sets; i++)
            {
                queue(i % sets);
            }
        });
        for (int i = 0; i < 3; i++)
        {
            graph.Launch(stream);
        }

        double[] times = new double[Replays];
        for (int i = 0; i < Replays; i++)
        {
            start.Record(stream);
            graph.Launch(stream);
            end.Record(stream);
            end.Synchronize();
            times[i] = start.MicrosecondsTo(end) / (rounds * sets);
        }

        Array.Sort(times);
        return (times[Replays / 2], times[0]);
    }
}
