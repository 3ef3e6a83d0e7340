using System.Collections.Immutable;
using System.Globalization;
using System.Runtime.InteropServices;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Tests;

/// <summary>
/// A tiny OPT of any shape that a config can describe: random weights, written as a checkpoint, and its logits in plain double-precision
/// loops, straight from the definition.
/// </summary>
internal sealed record TransformerOptVariant
{
    public const int Vocabulary = 23;
    public const int Context = 40;

    public bool NormBefore { get; init; } = true;

    public bool RemoveFinalNorm { get; init; }

    public bool Affine { get; init; } = true;

    public bool Bias { get; init; } = true;

    public bool Tied { get; init; } = true;

    public int Heads { get; init; } = 3;

    public int HeadSize { get; init; } = 5;

    /// <summary>Width of the token embedding, or 0 for that of the residual stream.</summary>
    public int Projected { get; init; }

    public int FeedForward { get; init; } = 37;

    public string Activation { get; init; } = "relu";

    public string Prefix { get; init; } = "model.";

    public TensorType Type { get; init; } = TensorType.F32;

    public int Hidden => Heads * HeadSize;

    public int Embedding => Projected == 0 ? Hidden : Projected;

    private bool FinalNorm => NormBefore && !RemoveFinalNorm;

    /// <summary>The tensors with their shapes and values, each exactly representable in <see cref="Type"/>.</summary>
    public Dictionary<string, (long[] Shape, float[] Values)> CreateTensors(int seed)
    {
        Random random = new(seed);
        Dictionary<string, (long[], float[])> tensors = [];
        Add("decoder.embed_tokens.weight", 1f, 0, Vocabulary, Embedding);
        Add("decoder.embed_positions.weight", 0.5f, 0, Context + 2, Hidden);
        for (int layer = 0; layer < 2; layer++)
        {
            string name = $"decoder.layers.{layer}.";
            foreach (string projection in (string[])["q_proj", "k_proj", "v_proj", "out_proj"])
            {
                Linear($"{name}self_attn.{projection}", Hidden, Hidden);
            }

            Norm(name + "self_attn_layer_norm");
            Linear(name + "fc1", FeedForward, Hidden);
            Linear(name + "fc2", Hidden, FeedForward);
            Norm(name + "final_layer_norm");
        }

        if (FinalNorm)
        {
            Norm("decoder.final_layer_norm");
        }

        if (Projected != 0)
        {
            Add("decoder.project_in.weight", 0.4f, 0, Hidden, Embedding);
            Add("decoder.project_out.weight", 0.4f, 0, Embedding, Hidden);
        }

        if (!Tied)
        {
            Add("lm_head.weight", 1f, 0, Vocabulary, Embedding, prefix: "");
        }

        return tensors;

        void Linear(string name, int outputs, int inputs)
        {
            Add(name + ".weight", 0.4f, 0, outputs, inputs);
            if (Bias)
            {
                Add(name + ".bias", 0.3f, 0, outputs);
            }
        }

        void Norm(string name)
        {
            if (Affine)
            {
                Add(name + ".weight", 0.3f, 1, Hidden);
                Add(name + ".bias", 0.3f, 0, Hidden);
            }
        }

        void Add(string name, float scale, float center, int rows, int columns = 0, string? prefix = null)
        {
            float[] values = new float[rows * Math.Max(1, columns)];
            for (int i = 0; i < values.Length; i++)
            {
                float value = center + (scale * ((random.NextSingle() * 2) - 1));
                values[i] = Type switch
                {
                    TensorType.F16 => (float)(Half)value,
                    TensorType.BF16 => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xFFFF_0000),
                    _ => value,
                };
            }

            tensors.Add((prefix ?? Prefix) + name, (columns == 0 ? [rows] : [rows, columns], values));
        }
    }

    /// <summary>Writes config and weights into a folder.</summary>
    public void Write(string folder, Dictionary<string, (long[] Shape, float[] Values)> tensors)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), string.Create(CultureInfo.InvariantCulture, $$"""
            {
              "model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": {{Hidden}}, "word_embed_proj_dim": {{Embedding}},
              "num_attention_heads": {{Heads}}, "num_hidden_layers": 2, "ffn_dim": {{FeedForward}}, "vocab_size": {{Vocabulary}},
              "max_position_embeddings": {{Context}}, "activation_function": "{{Activation}}", "do_layer_norm_before": {{Json(NormBefore)}},
              "_remove_final_layer_norm": {{Json(RemoveFinalNorm)}}, "layer_norm_elementwise_affine": {{Json(Affine)}},
              "enable_bias": {{Json(Bias)}}, "tie_word_embeddings": {{Json(Tied)}}, "eos_token_id": 2
            }
            """));
        using SafetensorsWriter writer = new(
            Path.Combine(folder, "model.safetensors"), tensors.Select(t => (t.Key, Type, ImmutableArray.Create(t.Value.Shape))));
        foreach ((string name, (_, float[] values)) in tensors)
        {
            writer.Append(name, Type switch
            {
                TensorType.F16 => MemoryMarshal.AsBytes(values.Select(v => (Half)v).ToArray().AsSpan()),
                TensorType.BF16 => MemoryMarshal.AsBytes(values.Select(v => (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16)).ToArray().AsSpan()),
                _ => MemoryMarshal.AsBytes(values.AsSpan()),
            });
        }

        writer.Complete();

        static string Json(bool value) => value ? "true" : "false";
    }

    /// <summary>Logits [ids.Length, vocabulary] by the definition.</summary>
    public double[][] Logits(Dictionary<string, (long[] Shape, float[] Values)> tensors, int[] ids)
    {
        double[][] x = new double[ids.Length][];
        for (int t = 0; t < ids.Length; t++)
        {
            double[] token = Row("decoder.embed_tokens.weight", ids[t], Embedding);
            double[] position = Row("decoder.embed_positions.weight", t + 2, Hidden);
            token = Projected == 0 ? token : Linear("decoder.project_in", token);
            x[t] = Plus(token, position);
        }

        for (int layer = 0; layer < 2; layer++)
        {
            string name = $"decoder.layers.{layer}.";
            double[][] input = [.. x.Select(row => NormBefore ? Norm(name + "self_attn_layer_norm", row) : row)];
            double[][] q = [.. input.Select(row => Linear(name + "self_attn.q_proj", row))];
            double[][] k = [.. input.Select(row => Linear(name + "self_attn.k_proj", row))];
            double[][] v = [.. input.Select(row => Linear(name + "self_attn.v_proj", row))];
            for (int t = 0; t < ids.Length; t++)
            {
                double[] attended = new double[Hidden];
                for (int head = 0; head < Heads; head++)
                {
                    int at = head * HeadSize;
                    double[] p = [.. Enumerable.Range(0, t + 1).Select(s =>
                        Enumerable.Range(at, HeadSize).Sum(i => q[t][i] * k[s][i]) / Math.Sqrt(HeadSize))];
                    double max = p.Max();
                    double sum = p.Sum(score => Math.Exp(score - max));
                    for (int i = at; i < at + HeadSize; i++)
                    {
                        attended[i] = Enumerable.Range(0, t + 1).Sum(s => Math.Exp(p[s] - max) / sum * v[s][i]);
                    }
                }

                x[t] = Plus(x[t], Linear(name + "self_attn.out_proj", attended));
                x[t] = NormBefore ? x[t] : Norm(name + "self_attn_layer_norm", x[t]);
            }

            for (int t = 0; t < ids.Length; t++)
            {
                double[] inner = Linear(name + "fc1", NormBefore ? Norm(name + "final_layer_norm", x[t]) : x[t]);
                x[t] = Plus(x[t], Linear(name + "fc2", [.. inner.Select(Activate)]));
                x[t] = NormBefore ? x[t] : Norm(name + "final_layer_norm", x[t]);
            }
        }

        return [.. x.Select(row =>
        {
            row = FinalNorm ? Norm("decoder.final_layer_norm", row) : row;
            row = Projected == 0 ? row : Linear("decoder.project_out", row);
            string head = Tied ? Prefix + "decoder.embed_tokens.weight" : "lm_head.weight";
            return Enumerable.Range(0, Vocabulary).Select(n => Dot(tensors[head].Values, n, row)).ToArray();
        })];

        double[] Row(string name, int row, int width) => [.. tensors[Prefix + name].Values.AsSpan(row * width, width).ToArray().Select(v => (double)v)];

        double[] Linear(string name, double[] row)
        {
            (long[] shape, float[] weight) = tensors[Prefix + name + ".weight"];
            float[]? bias = tensors.TryGetValue(Prefix + name + ".bias", out var b) ? b.Values : null;
            return [.. Enumerable.Range(0, (int)shape[0]).Select(n => Dot(weight, n, row) + (bias?[n] ?? 0))];
        }

        double[] Norm(string name, double[] row)
        {
            double mean = row.Average();
            double deviation = Math.Sqrt(row.Average(v => (v - mean) * (v - mean)) + 1e-5);
            return [.. row.Select((v, i) => Affine
                ? ((v - mean) / deviation * tensors[Prefix + name + ".weight"].Values[i]) + tensors[Prefix + name + ".bias"].Values[i]
                : (v - mean) / deviation)];
        }
    }

    private static double Dot(float[] weight, int n, double[] row) => row.Select((v, k) => v * weight[(n * row.Length) + k]).Sum();

    private static double[] Plus(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private double Activate(double x) => Activation switch
    {
        "relu" => Math.Max(x, 0),
        "gelu" => x * NormalDistribution(x),
        _ => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))),
    };

    /// <summary>Phi(x) by its power series, exact to double precision for the few units around zero that occur here.</summary>
    public static double NormalDistribution(double x)
    {
        double term = x;
        double sum = x;
        for (int i = 1; Math.Abs(term) > 1e-18 * Math.Abs(sum); i++)
        {
            term *= x * x / ((2 * i) + 1);
            sum += term;
        }

        return 0.5 + (Math.Exp(-x * x / 2) / Math.Sqrt(2 * Math.PI) * sum);
    }
}
