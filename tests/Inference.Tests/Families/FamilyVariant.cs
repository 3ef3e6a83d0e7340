using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Tests.Families;

/// <summary>A tiny model of a family: its config, random tensors, and its logits straight from the family's definition.</summary>
internal abstract record FamilyVariant
{
    public const int Vocabulary = 23;
    public const int Context = 40;
    public const int Layers = 2;

    public int Heads { get; init; } = 4;

    public int HeadSize { get; init; } = 6;

    public bool Tied { get; init; }

    public bool HasPrefix { get; init; } = true;

    public TensorType Type { get; init; } = TensorType.F32;

    public virtual int Hidden => Heads * HeadSize;

    /// <summary>config.json.</summary>
    public abstract string Config { get; }

    public abstract DefinitionTensors CreateTensors(int seed);

    /// <summary>Logits [ids.Length][vocabulary] by the definition.</summary>
    public abstract double[][] Logits(DefinitionTensors tensors, int[] ids);

    protected static string Json(bool value) => value ? "true" : "false";
}

internal sealed record BloomVariant : FamilyVariant
{
    public bool Replacing { get; init; }

    public bool OldKeys { get; init; }

    private string Prefix => HasPrefix ? "transformer." : "";

    public override string Config => $$"""
        { "model_type": "bloom", "architectures": ["BloomForCausalLM"], "{{(OldKeys ? "n_embed" : "hidden_size")}}": {{Hidden}},
          "{{(OldKeys ? "num_attention_heads" : "n_head")}}": {{Heads}}, "n_layer": {{Layers}}, "vocab_size": {{Vocabulary}},
          "layer_norm_epsilon": 1e-5, "apply_residual_connection_post_layernorm": {{Json(Replacing)}}, "tie_word_embeddings": {{Json(Tied)}} }
        """;

    public override DefinitionTensors CreateTensors(int seed)
    {
        DefinitionTensors tensors = new(Type, seed);
        tensors.Add(Prefix + "word_embeddings.weight", 1, 0, Vocabulary, Hidden);
        tensors.AddNorm(Prefix + "word_embeddings_layernorm", Hidden, bias: true);
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{Prefix}h.{i}.";
            tensors.AddNorm(name + "input_layernorm", Hidden, bias: true);
            tensors.AddLinear(name + "self_attention.query_key_value", Hidden, 3 * Hidden, bias: true);
            tensors.AddLinear(name + "self_attention.dense", Hidden, Hidden, bias: true);
            tensors.AddNorm(name + "post_attention_layernorm", Hidden, bias: true);
            tensors.AddLinear(name + "mlp.dense_h_to_4h", Hidden, 4 * Hidden, bias: true);
            tensors.AddLinear(name + "mlp.dense_4h_to_h", 4 * Hidden, Hidden, bias: true);
        }

        tensors.AddNorm(Prefix + "ln_f", Hidden, bias: true);
        if (!Tied)
        {
            tensors.AddLinear("lm_head", Hidden, Vocabulary, bias: false);
        }

        return tensors;
    }

    public override double[][] Logits(DefinitionTensors t, int[] ids)
    {
        double[] slopes = Slopes(Heads);
        double[][] x = [.. ids.Select(id => t.LayerNorm(Prefix + "word_embeddings_layernorm", t.Row(Prefix + "word_embeddings.weight", id), 1e-5))];
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{Prefix}h.{i}.";
            double[][] normed = [.. x.Select(row => t.LayerNorm(name + "input_layernorm", row, 1e-5))];

            // [heads][3][head size]
            double[][][] fused = [.. normed.Select(row => DefinitionTensors.Cut(t.Linear(name + "self_attention.query_key_value", row), HeadSize))];
            double[][][] Part(int part) => [.. fused.Select(pieces => Enumerable.Range(0, Heads).Select(h => pieces[(3 * h) + part]).ToArray())];
            double[][] attended = DefinitionTensors.Attend(Part(0), Part(1), Part(2), _ => 1 / Math.Sqrt(HeadSize), (h, s) => slopes[h] * s);
            x = [.. x.Select((row, n) => DefinitionTensors.Plus(Replacing ? normed[n] : row, t.Linear(name + "self_attention.dense", attended[n])))];
            normed = [.. x.Select(row => t.LayerNorm(name + "post_attention_layernorm", row, 1e-5))];
            x = [.. x.Select((row, n) => DefinitionTensors.Plus(
                Replacing ? normed[n] : row,
                t.Linear(name + "mlp.dense_4h_to_h", [.. t.Linear(name + "mlp.dense_h_to_4h", normed[n]).Select(DefinitionTensors.GeluTanh)])))];
        }

        return [.. x.Select(row => t.Linear(Tied ? Prefix + "word_embeddings" : "lm_head", t.LayerNorm(Prefix + "ln_f", row, 1e-5)))];
    }

    /// <summary>As the reference implementation builds them.</summary>
    public static double[] Slopes(int heads)
    {
        int power = (int)Math.Pow(2, Math.Floor(Math.Log2(heads)));
        double start = Math.Pow(2, -Math.Pow(2, -(Math.Log2(power) - 3)));
        double extra = Math.Pow(2, -Math.Pow(2, -(Math.Log2(2 * power) - 3)));
        return
        [
            .. Enumerable.Range(1, power).Select(n => Math.Pow(start, n)),
            .. Enumerable.Range(0, heads - power).Select(n => Math.Pow(extra, (2 * n) + 1)),
        ];
    }
}

internal sealed record Gpt2Variant : FamilyVariant
{
    public string Activation { get; init; } = "gelu_new";

    public int FeedForward { get; init; }

    public bool Scaled { get; init; } = true;

    public bool ScaledByLayer { get; init; }

    private string Prefix => HasPrefix ? "transformer." : "";

    private int Inner => FeedForward == 0 ? 4 * Hidden : FeedForward;

    public override string Config => $$"""
        { "model_type": "gpt2", "n_embd": {{Hidden}}, "n_head": {{Heads}}, "n_layer": {{Layers}}, "n_positions": {{Context}},
          "n_inner": {{(FeedForward == 0 ? "null" : FeedForward)}}, "vocab_size": {{Vocabulary}}, "layer_norm_epsilon": 1e-5,
          "activation_function": "{{Activation}}", "scale_attn_weights": {{Json(Scaled)}},
          "scale_attn_by_inverse_layer_idx": {{Json(ScaledByLayer)}}, "tie_word_embeddings": {{Json(Tied)}} }
        """;

    public override DefinitionTensors CreateTensors(int seed)
    {
        DefinitionTensors tensors = new(Type, seed);
        tensors.Add(Prefix + "wte.weight", 1, 0, Vocabulary, Hidden);
        tensors.Add(Prefix + "wpe.weight", 0.5f, 0, Context, Hidden);
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{Prefix}h.{i}.";
            tensors.AddNorm(name + "ln_1", Hidden, bias: true);
            tensors.AddLinear(name + "attn.c_attn", Hidden, 3 * Hidden, bias: true, transposed: true);
            tensors.AddLinear(name + "attn.c_proj", Hidden, Hidden, bias: true, transposed: true);
            tensors.AddNorm(name + "ln_2", Hidden, bias: true);
            tensors.AddLinear(name + "mlp.c_fc", Hidden, Inner, bias: true, transposed: true);
            tensors.AddLinear(name + "mlp.c_proj", Inner, Hidden, bias: true, transposed: true);
        }

        tensors.AddNorm(Prefix + "ln_f", Hidden, bias: true);
        if (!Tied)
        {
            tensors.AddLinear("lm_head", Hidden, Vocabulary, bias: false);
        }

        return tensors;
    }

    public override double[][] Logits(DefinitionTensors t, int[] ids)
    {
        double[][] x = [.. ids.Select((id, n) => DefinitionTensors.Plus(t.Row(Prefix + "wte.weight", id), t.Row(Prefix + "wpe.weight", n)))];
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{Prefix}h.{i}.";

            // [3][heads][head size]
            double[][][] fused = [.. x.Select(row => DefinitionTensors.Cut(
                t.Linear(name + "attn.c_attn", t.LayerNorm(name + "ln_1", row, 1e-5), transposed: true), HeadSize))];
            double[][][] Part(int part) => [.. fused.Select(pieces => pieces[(part * Heads)..((part + 1) * Heads)])];
            double scale = (Scaled ? 1 / Math.Sqrt(HeadSize) : 1) / (ScaledByLayer ? i + 1 : 1);
            double[][] attended = DefinitionTensors.Attend(Part(0), Part(1), Part(2), _ => scale);
            x = [.. x.Select((row, n) => DefinitionTensors.Plus(row, t.Linear(name + "attn.c_proj", attended[n], transposed: true)))];
            x = [.. x.Select(row =>
            {
                double[] inner = t.Linear(name + "mlp.c_fc", t.LayerNorm(name + "ln_2", row, 1e-5), transposed: true);
                return DefinitionTensors.Plus(row, t.Linear(
                    name + "mlp.c_proj", [.. inner.Select(v => Activation == "relu" ? Math.Max(0, v) : DefinitionTensors.GeluTanh(v))], transposed: true));
            })];
        }

        return [.. x.Select(row => t.Linear(Tied ? Prefix + "wte" : "lm_head", t.LayerNorm(Prefix + "ln_f", row, 1e-5)))];
    }
}

internal sealed record GptNeoXVariant : FamilyVariant
{
    public bool Parallel { get; init; } = true;

    public bool AttentionBias { get; init; } = true;

    /// <summary>Dimensions of a head that are turned.</summary>
    public int Turned { get; init; } = 2;

    public bool OldKeys { get; init; }

    private string Prefix => HasPrefix ? "gpt_neox." : "";

    private string Rotary => OldKeys
        ? FormattableString.Invariant($"\"rotary_pct\": {Share}, \"rotary_emb_base\": 500")
        : FormattableString.Invariant($"\"rope_parameters\": {{ \"rope_theta\": 500, \"partial_rotary_factor\": {Share}, \"rope_type\": \"default\" }}");

    // A little over, so that the product is not just below.
    private double Share => Turned == HeadSize ? 1 : (Turned + 0.1) / HeadSize;

    public override string Config => $$"""
        { "model_type": "gpt_neox", "hidden_size": {{Hidden}}, "num_attention_heads": {{Heads}}, "num_hidden_layers": {{Layers}},
          "intermediate_size": 31, "max_position_embeddings": {{Context}}, "vocab_size": {{Vocabulary}}, "layer_norm_eps": 1e-5,
          "hidden_act": "gelu", "use_parallel_residual": {{Json(Parallel)}}, "attention_bias": {{Json(AttentionBias)}},
          {{Rotary}}, "tie_word_embeddings": {{Json(Tied)}} }
        """;

    public override DefinitionTensors CreateTensors(int seed)
    {
        DefinitionTensors tensors = new(Type, seed);
        tensors.Add(Prefix + "embed_in.weight", 1, 0, Vocabulary, Hidden);
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{Prefix}layers.{i}.";
            tensors.AddNorm(name + "input_layernorm", Hidden, bias: true);
            tensors.AddLinear(name + "attention.query_key_value", Hidden, 3 * Hidden, AttentionBias);
            tensors.AddLinear(name + "attention.dense", Hidden, Hidden, AttentionBias);
            tensors.AddNorm(name + "post_attention_layernorm", Hidden, bias: true);
            tensors.AddLinear(name + "mlp.dense_h_to_4h", Hidden, 31, bias: true);
            tensors.AddLinear(name + "mlp.dense_4h_to_h", 31, Hidden, bias: true);
        }

        tensors.AddNorm(Prefix + "final_layer_norm", Hidden, bias: true);
        if (!Tied)
        {
            tensors.AddLinear("embed_out", Hidden, Vocabulary, bias: false);
        }

        return tensors;
    }

    public override double[][] Logits(DefinitionTensors t, int[] ids)
    {
        double[] frequencies = [.. Enumerable.Range(0, Turned / 2).Select(i => 1 / Math.Pow(500, 2.0 * i / Turned))];
        double[][] x = [.. ids.Select(id => t.Row(Prefix + "embed_in.weight", id))];
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{Prefix}layers.{i}.";
            double[][][] fused = [.. x.Select(row => DefinitionTensors.Cut(
                t.Linear(name + "attention.query_key_value", t.LayerNorm(name + "input_layernorm", row, 1e-5)), HeadSize))];
            double[][][] Part(int part, bool turn) => [.. fused.Select((pieces, n) => Enumerable.Range(0, Heads)
                .Select(h => turn ? DefinitionTensors.Turn(pieces[(3 * h) + part], n, frequencies) : pieces[(3 * h) + part]).ToArray())];
            double[][] attended = DefinitionTensors.Attend(Part(0, true), Part(1, true), Part(2, false), _ => 1 / Math.Sqrt(HeadSize));
            x = [.. x.Select((row, n) =>
            {
                double[] added = DefinitionTensors.Plus(row, t.Linear(name + "attention.dense", attended[n]));
                double[] inner = t.Linear(name + "mlp.dense_h_to_4h", t.LayerNorm(name + "post_attention_layernorm", Parallel ? row : added, 1e-5));
                return DefinitionTensors.Plus(added, t.Linear(name + "mlp.dense_4h_to_h", [.. inner.Select(DefinitionTensors.Gelu)]));
            })];
        }

        return [.. x.Select(row => t.Linear(Tied ? Prefix + "embed_in" : "embed_out", t.LayerNorm(Prefix + "final_layer_norm", row, 1e-5)))];
    }
}

internal sealed record LlamaVariant : FamilyVariant
{
    public string ModelType { get; init; } = "llama";

    public int KeyValueHeads { get; init; } = 2;

    public bool AttentionBias { get; init; }

    public bool MlpBias { get; init; }

    /// <summary>Positions that a layer of Mistral looks back, or Qwen2's last; 0 for all.</summary>
    public int Window { get; init; }

    /// <summary>default, linear, dynamic or llama3.</summary>
    public string Rope { get; init; } = "default";

    public bool OldKeys { get; init; }

    /// <summary>Not heads * head size: the projections say otherwise.</summary>
    public override int Hidden => (Heads * HeadSize) + 4;

    private string Prefix => HasPrefix ? "model." : "";

    private string Rotary
    {
        get
        {
            string scaling = $"\"{(OldKeys ? "type" : "rope_type")}\": \"{Rope}\", \"factor\": 4, \"low_freq_factor\": 1, "
                + "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 16";
            return OldKeys
                ? $"\"rope_theta\": 700, \"rope_scaling\": {(Rope == "default" ? "null" : $"{{ {scaling} }}")}"
                : $"\"rope_parameters\": {{ \"rope_theta\": 700, {scaling} }}";
        }
    }

    private string Sliding => ModelType switch
    {
        "mistral" => $"\"sliding_window\": {(Window == 0 ? "null" : Window)},",
        "qwen2" when OldKeys => $"\"use_sliding_window\": {Json(Window != 0)}, \"sliding_window\": {Window}, \"max_window_layers\": 1,",
        "qwen2" => $"\"use_sliding_window\": {Json(Window != 0)}, \"sliding_window\": {Window}, \"layer_types\": [\"full_attention\", \"sliding_attention\"],",
        _ => $"\"attention_bias\": {Json(AttentionBias)}, \"mlp_bias\": {Json(MlpBias)},",
    };

    public override string Config => $$"""
        { "model_type": "{{ModelType}}", "hidden_size": {{Hidden}}, "num_attention_heads": {{Heads}}, "num_key_value_heads": {{KeyValueHeads}},
          "head_dim": {{HeadSize}}, "num_hidden_layers": {{Layers}}, "intermediate_size": 29, "max_position_embeddings": {{Context}},
          "vocab_size": {{Vocabulary}}, "rms_norm_eps": 1e-5, "hidden_act": "silu", {{Sliding}} {{Rotary}}, "tie_word_embeddings": {{Json(Tied)}} }
        """;

    public override DefinitionTensors CreateTensors(int seed)
    {
        DefinitionTensors tensors = new(Type, seed);
        tensors.Add(Prefix + "embed_tokens.weight", 1, 0, Vocabulary, Hidden);
        bool attentionBias = AttentionBias && ModelType == "llama";
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{Prefix}layers.{i}.";
            tensors.AddNorm(name + "input_layernorm", Hidden, bias: false);
            foreach ((string projection, int heads) in (ReadOnlySpan<(string, int)>)[("q", Heads), ("k", KeyValueHeads), ("v", KeyValueHeads)])
            {
                tensors.AddLinear($"{name}self_attn.{projection}_proj", Hidden, heads * HeadSize, attentionBias || ModelType == "qwen2");
            }

            tensors.AddLinear(name + "self_attn.o_proj", Heads * HeadSize, Hidden, attentionBias);
            tensors.AddNorm(name + "post_attention_layernorm", Hidden, bias: false);
            foreach ((string projection, int inputs, int outputs) in (ReadOnlySpan<(string, int, int)>)[("gate", Hidden, 29), ("up", Hidden, 29), ("down", 29, Hidden)])
            {
                tensors.AddLinear($"{name}mlp.{projection}_proj", inputs, outputs, MlpBias && ModelType == "llama");
            }
        }

        tensors.AddNorm(Prefix + "norm", Hidden, bias: false);
        if (!Tied)
        {
            tensors.AddLinear("lm_head", Hidden, Vocabulary, bias: false);
        }

        return tensors;
    }

    public override double[][] Logits(DefinitionTensors t, int[] ids)
    {
        double[] frequencies = [.. Enumerable.Range(0, HeadSize / 2).Select(i => Scale(1 / Math.Pow(700, 2.0 * i / HeadSize)))];
        return Logits(t, ids, Prefix, HeadSize, frequencies, 1e-5, layer => Window == 0 || (ModelType == "qwen2" && layer == 0) ? int.MaxValue : Window, Tied);
    }

    /// <summary>The definition, for any checkpoint of this shape.</summary>
    public static double[][] Logits(
        DefinitionTensors t, int[] ids, string prefix, int headSize, double[] frequencies, double epsilon, Func<int, int> window, bool tied)
    {
        double[][] x = [.. ids.Select(id => t.Row(prefix + "embed_tokens.weight", id))];
        for (int i = 0; i < Layers; i++)
        {
            string name = $"{prefix}layers.{i}.";
            double[][] normed = [.. x.Select(row => t.RootMeanSquareNorm(name + "input_layernorm", row, epsilon))];
            double[][][] Project(string projection, bool turn) => [.. normed.Select((row, n) => DefinitionTensors
                .Cut(t.Linear($"{name}self_attn.{projection}_proj", row), headSize)
                .Select(head => turn ? DefinitionTensors.Turn(head, n, frequencies) : head).ToArray())];
            double[][] attended = DefinitionTensors.Attend(
                Project("q", true), Project("k", true), Project("v", false), _ => 1 / Math.Sqrt(headSize), window: window(i));
            x = [.. x.Select((row, n) => DefinitionTensors.Plus(row, t.Linear(name + "self_attn.o_proj", attended[n])))];
            x = [.. x.Select(row =>
            {
                double[] input = t.RootMeanSquareNorm(name + "post_attention_layernorm", row, epsilon);
                double[] gate = t.Linear(name + "mlp.gate_proj", input);
                double[] up = t.Linear(name + "mlp.up_proj", input);
                return DefinitionTensors.Plus(row, t.Linear(name + "mlp.down_proj", [.. gate.Zip(up, (g, u) => DefinitionTensors.Silu(g) * u)]));
            })];
        }

        return [.. x.Select(row => t.Linear(tied ? prefix + "embed_tokens" : "lm_head", t.RootMeanSquareNorm(prefix + "norm", row, epsilon)))];
    }

    /// <summary>Factor 4, low 1, high 4, trained with 16 positions: the constants of <see cref="Rotary"/>.</summary>
    private double Scale(double frequency)
    {
        double wavelength = 2 * Math.PI / frequency;
        return Rope switch
        {
            "linear" => frequency / 4,
            "llama3" when wavelength > 16 / 1.0 => frequency / 4,
            "llama3" when wavelength > 16 / 4.0 => Interpolate((16 / wavelength - 1) / (4 - 1)),
            _ => frequency,
        };

        double Interpolate(double smooth) => ((1 - smooth) * frequency / 4) + (smooth * frequency);
    }
}
