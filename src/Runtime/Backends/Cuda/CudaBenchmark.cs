using System.Globalization;
using KernelGen.Tuning;

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

/// <summary>Device time of multiplications. Every variant that can run is timed; the fastest is reported.</summary>
internal sealed class CudaBenchmark : IDisposable
{
    /// <summary>What can be timed, by the names that lines have.</summary>
    public static IReadOnlyDictionary<string, CudaOperation> Operations { get; } = new Dictionary<string, CudaOperation>(StringComparer.Ordinal)
    {
        ["quantize"] = CudaOperation.Quantize,
        ["int8-gemm"] = CudaOperation.Gemm,
        ["llm-int8"] = CudaOperation.Layer,
    };

    private const int Warmups = 3, Samples = 9;

    private const double SampleMicroseconds = 4000;

    private readonly CudaContext context;
    private readonly CudaStream stream;
    private readonly Int8Spec spec;
    private readonly CudaInt8MatMul matMul;

    public CudaBenchmark(CudaDevice device, Int8KernelSet set)
    {
        context = new CudaContext(device);
        stream = new CudaStream(context);
        spec = set.Spec;
        matMul = new CudaInt8MatMul(context, set.Spec, set.CudaVariants);
    }

    /// <summary>The fastest variant of a shape.</summary>
    /// <inheritdoc cref="RunAll"/>
    public CudaBenchmarkResult Run(string op, int m, int k, int n, int outliers) =>
        RunAll(op, m, k, n, outliers).MinBy(static result => result.MicrosecondsMedian)
        ?? throw new InvalidOperationException($"No generated kernel runs on {context.Device}.");

    /// <summary>Every variant that can run a shape.</summary>
    /// <param name="op">One of <see cref="Operations"/>.</param>
    /// <param name="m">Rows of A.</param>
    /// <param name="k">Input features.</param>
    /// <param name="n">Output features.</param>
    /// <param name="outliers">Columns of A that hold outliers; the other values stay below 5.</param>
    /// <exception cref="ArgumentException">The operation is not known.</exception>
    /// <exception cref="CudaException">Out of device memory, or a kernel does not run.</exception>
    public IReadOnlyList<CudaBenchmarkResult> RunAll(string op, int m, int k, int n, int outliers)
    {
        if (!Operations.TryGetValue(op, out CudaOperation operation))
        {
            throw new ArgumentException($"'{op}' is not an operation to measure on a GPU; use {string.Join(", ", Operations.Keys)}.", nameof(op));
        }

        SyntheticData.Weights weights = new(spec, n, k, uniform: true);
        int[] columns = SyntheticData.OutlierColumns(spec, k, outliers);
        using CudaWorkload workload = new(context, stream, matMul, spec, m, weights, columns, ElementFormat.Float16, operation);

        // What quantizes does not depend on what multiplies.
        IEnumerable<CudaKernelVariant> variants = operation == CudaOperation.Quantize
            ? [matMul.Choose(m, n, k, ElementFormat.Float16)]
            : matMul.CandidatesFor(m, ElementFormat.Float16).Concat(operation == CudaOperation.Layer && m == 1 ? workload.SingleRow : []);
        List<CudaBenchmarkResult> results = [];
        foreach (CudaKernelVariant variant in variants)
        {
            for (int i = 0; i < Warmups; i++)
            {
                workload.Sample(variant, SampleMicroseconds);
            }

            TuningTiming timing = TuningTiming.Of(Enumerable.Range(0, Samples).Select(_ => workload.Sample(variant, SampleMicroseconds)));
            results.Add(new CudaBenchmarkResult(op, m, k, n, timing.Median, timing.Minimum, operation == CudaOperation.Quantize ? op : variant.Name));
        }

        return results;
    }

    public void Dispose()
    {
        matMul.Dispose();
        stream.Dispose();
        context.Dispose();
    }
}
