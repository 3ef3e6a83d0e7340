using System.Collections.Immutable;
using System.Runtime.InteropServices;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Tests.Families;

/// <summary>A model's tensors by name, random or read, and the operations of its definition on them in plain double-precision loops.</summary>
internal sealed class DefinitionTensors(TensorType type, int seed)
{
    private readonly Random _random = new(seed);

    public Dictionary<string, (long[] Shape, float[] Values)> All { get; } = [];

    /// <summary>All tensors of a checkpoint.</summary>
    public static DefinitionTensors Read(string folder)
    {
        DefinitionTensors tensors = new(TensorType.F32, 0);
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        foreach ((string name, TensorInfo info) in checkpoint.Tensors)
        {
            tensors.All.Add(name, ([.. info.Shape], checkpoint.ReadSingles(name)));
        }

        return tensors;
    }

    /// <summary>Adds a tensor of random values around a center, each exactly representable in the stored type.</summary>
    public void Add(string name, float scale, float center, params long[] shape)
    {
        float[] values = new float[shape.Aggregate((a, b) => a * b)];
        for (int i = 0; i < values.Length; i++)
        {
            float value = center + (scale * ((_random.NextSingle() * 2) - 1));
            values[i] = type switch
            {
                TensorType.F16 => (float)(Half)value,
                TensorType.BF16 => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xFFFF_0000),
                _ => value,
            };
        }

        All.Add(name, (shape, values));
    }

    public void AddLinear(string name, int inputs, int outputs, bool bias, bool transposed = false)
    {
        Add(name + ".weight", 0.4f, 0, transposed ? [inputs, outputs] : [outputs, inputs]);
        if (bias)
        {
            Add(name + ".bias", 0.3f, 0, outputs);
        }
    }

    public void AddNorm(string name, int size, bool bias)
    {
        Add(name + ".weight", 0.3f, 1, size);
        if (bias)
        {
            Add(name + ".bias", 0.3f, 0, size);
        }
    }

    public void Write(string folder, string config)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        using SafetensorsWriter writer = new(
            Path.Combine(folder, "model.safetensors"), All.Select(t => (t.Key, type, ImmutableArray.Create(t.Value.Shape))));
        foreach ((string name, (_, float[] values)) in All)
        {
            writer.Append(name, type switch
            {
                TensorType.F16 => MemoryMarshal.AsBytes(values.Select(v => (Half)v).ToArray().AsSpan()),
                TensorType.BF16 => MemoryMarshal.AsBytes(values.Select(v => (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16)).ToArray().AsSpan()),
                _ => MemoryMarshal.AsBytes(values.AsSpan()),
            });
        }

        writer.Complete();
    }

    public double[] Row(string name, int row)
    {
        (long[] shape, float[] values) = All[name];
        return [.. values.AsSpan(row * (int)shape[1], (int)shape[1]).ToArray().Select(v => (double)v)];
    }

    public double[] Linear(string name, double[] x, bool transposed = false)
    {
        (long[] shape, float[] w) = All[name + ".weight"];
        float[]? bias = All.TryGetValue(name + ".bias", out var b) ? b.Values : null;
        int outputs = (int)shape[transposed ? 1 : 0];
        return [.. Enumerable.Range(0, outputs).Select(n =>
            x.Select((v, k) => v * w[transposed ? (k * outputs) + n : (n * x.Length) + k]).Sum() + (bias?[n] ?? 0))];
    }

    public double[] LayerNorm(string name, double[] x, double epsilon)
    {
        double mean = x.Average();
        double deviation = Math.Sqrt(x.Average(v => (v - mean) * (v - mean)) + epsilon);
        return [.. x.Select((v, i) => ((v - mean) / deviation * All[name + ".weight"].Values[i]) + All[name + ".bias"].Values[i])];
    }

    public double[] RootMeanSquareNorm(string name, double[] x, double epsilon)
    {
        double size = Math.Sqrt(x.Average(v => v * v) + epsilon);
        return [.. x.Select((v, i) => v / size * All[name + ".weight"].Values[i])];
    }

    public static double[] Plus(params double[][] rows) => [.. rows[0].Select((_, i) => rows.Sum(row => row[i]))];

    public static double GeluTanh(double x) => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x))));

    public static double Gelu(double x) => x * TransformerOptVariant.NormalDistribution(x);

    public static double Silu(double x) => x / (1 + Math.Exp(-x));

    /// <summary>Causal attention: all heads' results, side by side. Rows are tokens of [heads][head size].</summary>
    public static double[][] Attend(
        double[][][] q, double[][][] k, double[][][] v, Func<int, double> scale, Func<int, int, double>? bias = null, int window = int.MaxValue)
    {
        int share = q[0].Length / k[0].Length;
        return [.. q.Select((heads, t) => heads.SelectMany((query, h) =>
        {
            int[] seen = [.. Enumerable.Range(0, t + 1).Where(s => t - s < window)];
            double[] scores = [.. seen.Select(s => (query.Zip(k[s][h / share], (a, b) => a * b).Sum() * scale(h)) + (bias?.Invoke(h, s) ?? 0))];
            double max = scores.Max();
            double sum = scores.Sum(score => Math.Exp(score - max));
            return query.Select((_, i) => seen.Select((s, j) => Math.Exp(scores[j] - max) / sum * v[s][h / share][i]).Sum());
        }).ToArray())];
    }

    /// <summary>Cuts a row into pieces of a size.</summary>
    public static double[][] Cut(double[] row, int size) => [.. row.Chunk(size)];

    /// <summary>Turns the pairs (i, i + n) of a head's first 2n dimensions.</summary>
    public static double[] Turn(double[] head, int position, double[] frequencies)
    {
        double[] turned = [.. head];
        int n = frequencies.Length;
        for (int i = 0; i < n; i++)
        {
            (double sin, double cos) = Math.SinCos(position * frequencies[i]);
            turned[i] = (head[i] * cos) - (head[i + n] * sin);
            turned[i + n] = (head[i + n] * cos) + (head[i] * sin);
        }

        return turned;
    }
}
