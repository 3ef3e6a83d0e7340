using System.Globalization;
using System.Text.Json;

namespace KernelGen.Inference.Benchmarks;

/// <summary>What a timed operation takes and gives: only like is compared with like.</summary>
internal enum BenchmarkKind
{
    /// <summary>The integer product alone.</summary>
    Product,

    /// <summary>A whole layer, floating-point in and out.</summary>
    Layer,

    /// <summary>The same layer in floating point.</summary>
    FloatingPoint,
}

/// <summary>One timing of any program, to be put beside others.</summary>
/// <param name="Who">The program and what it ran, e.g. <c>onednn/u8s8s32</c>.</param>
/// <param name="Kind">What was timed.</param>
/// <param name="Shape">M, K, N.</param>
/// <param name="Where">Threads and whether the weights were in the cache; <c>gpu</c> for a device.</param>
/// <param name="Median">Microseconds.</param>
internal sealed record ComparedLine(string Who, BenchmarkKind Kind, BenchmarkShape Shape, string Where, double Median)
{
    /// <summary>How tables call timings on a GPU.</summary>
    public const string Gpu = "gpu";

    /// <summary>Billions of multiply-adds a second.</summary>
    public double GigaMacs => (double)Shape.M * Shape.K * Shape.N / Median * 1e-3;
}

/// <summary>Reads the JSON lines that benchmark programs of other libraries print.</summary>
internal static class PeerLines
{
    /// <summary>
    /// Reads lines with <c>peer</c>, <c>op</c>, <c>M</c>, <c>K</c>, <c>N</c>, <c>us_median</c>, and for a processor <c>threads</c> and <c>weights</c>. An <c>op</c> that
    /// begins with <c>dyn_</c> or <c>llm-int8</c> is a layer, one with <c>s32</c> or <c>int8-gemm</c> an integer product, others are floating point. Objects without
    /// <c>us_median</c> (limits, checks) and empty lines are passed over.
    /// </summary>
    /// <param name="lines">The lines.</param>
    /// <exception cref="FormatException">A line is no such object; the message has its number.</exception>
    public static IReadOnlyList<ComparedLine> Read(IEnumerable<string> lines)
    {
        ArgumentNullException.ThrowIfNull(lines);
        List<ComparedLine> read = [];
        int number = 0;
        foreach (string line in lines)
        {
            number++;
            try
            {
                if (line.Trim().Length > 0 && Parse(line) is { } parsed)
                {
                    read.Add(parsed);
                }
            }
            catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
            {
                throw new FormatException(
                    string.Create(CultureInfo.InvariantCulture, $"line {number} is not a benchmark's JSON line: {exception.Message}"), exception);
            }
        }

        return read;
    }

    /// <summary>What an operation of a benchmark program is.</summary>
    internal static BenchmarkKind KindOf(string operation) =>
        operation.StartsWith("dyn_", StringComparison.Ordinal) || operation.StartsWith("llm-int8", StringComparison.Ordinal) ? BenchmarkKind.Layer
        : operation.Contains("s32", StringComparison.Ordinal) || operation.StartsWith("int8-gemm", StringComparison.Ordinal) ? BenchmarkKind.Product
        : BenchmarkKind.FloatingPoint;

    private static ComparedLine? Parse(string line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement json = document.RootElement;
        if (!json.TryGetProperty("us_median", out JsonElement median))
        {
            return null;
        }

        string operation = json.GetProperty("op").GetString() ?? "";
        BenchmarkShape shape = new(Size(json, "M"), Size(json, "K"), Size(json, "N"));
        string where = json.TryGetProperty("threads", out JsonElement threads)
            ? string.Create(
                CultureInfo.InvariantCulture,
                $"{threads.GetInt32()} thread(s), {(json.TryGetProperty("weights", out JsonElement weights) ? weights.GetString() : "hot")}")
            : ComparedLine.Gpu;
        string who = json.TryGetProperty("peer", out JsonElement peer) ? $"{peer.GetString()}/{operation}" : operation;
        double time = median.GetDouble();
        return time > 0 && double.IsFinite(time)
            ? new ComparedLine(who, KindOf(operation), shape, where, time)
            : throw new FormatException($"us_median is {time.ToString(CultureInfo.InvariantCulture)}");
    }

    private static int Size(JsonElement json, string name) => json.GetProperty(name).GetInt32() is var value and > 0
        ? value
        : throw new FormatException($"{name} is not positive");
}
