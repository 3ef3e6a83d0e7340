using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// LLaMA (Touvron et al., arXiv 2302.13971 and 2307.09288) and what shares its shape: root-mean-square norms, rotary positions, a gated
/// MLP, grouped-query attention. The members differ in their biases and in how far back their layers look.
/// </summary>
internal static class LlamaFamily
{
    public const string LlamaType = "llama";

    public const string MistralType = "mistral";

    public const string Qwen2Type = "qwen2";

    public static readonly string[] LlamaArchitectures = ["LlamaForCausalLM", "LlamaModel"];

    public static readonly string[] MistralArchitectures = ["MistralForCausalLM", "MistralModel"];

    public static readonly string[] Qwen2Architectures = ["Qwen2ForCausalLM", "Qwen2Model"];

    /// <summary>What transformers takes for a Mistral config without the key; a null there means no window.</summary>
    private const int MistralWindow = 4096;

    /// <summary>LLaMA: biases as the config says, every layer looks back to the start.</summary>
    /// <exception cref="CheckpointException">A key is missing, of the wrong kind, or its value is not supported.</exception>
    public static DecoderDescription DescribeLlama(ConfigReader config)
    {
        bool attentionBias = config.GetBoolean("attention_bias", false);
        bool mlpBias = config.GetBoolean("mlp_bias", false);
        return Describe(config, LlamaType, new Biases(attentionBias, attentionBias, mlpBias), _ => null);
    }

    /// <summary>Mistral (arXiv 2310.06825): no biases; a query looks back as far as the sliding window reaches.</summary>
    /// <inheritdoc cref="DescribeLlama"/>
    public static DecoderDescription DescribeMistral(ConfigReader config)
    {
        int? window = config.Has("sliding_window") ? config.GetSize("sliding_window")
            : config.IsNull("sliding_window") ? null
            : MistralWindow;
        return Describe(config, MistralType, new Biases(false, false, false), _ => window);
    }

    /// <summary>Qwen2 (arXiv 2407.10671): biases of queries, keys and values; a sliding window in some layers where the config asks for it.</summary>
    /// <inheritdoc cref="DescribeLlama"/>
    public static DecoderDescription DescribeQwen2(ConfigReader config)
    {
        int? window = config.GetBoolean("use_sliding_window", false) ? config.GetSize("sliding_window") : null;
        string[] types = config.GetStrings("layer_types");
        int layers = config.GetSize("num_hidden_layers", DecoderDescription.MostLayers);
        if (types.Length != 0 && (types.Length != layers || types.Except(["full_attention", "sliding_attention"]).Any()))
        {
            throw config.Unsupported(
                "layer_types", $"{layers} times full_attention or sliding_attention", "Correct it, or download the file again.");
        }

        int windowed = window is null || types.Length != 0 ? 0 : config.GetInt32("max_window_layers");
        return Describe(config, Qwen2Type, new Biases(true, false, false), layer =>
            (types.Length == 0 ? layer >= windowed : types[layer] == "sliding_attention") ? window : null);
    }

    private static DecoderDescription Describe(ConfigReader config, string modelType, Biases biases, Func<int, int?> window)
    {
        int hidden = config.GetSize("hidden_size");
        int heads = config.GetSize("num_attention_heads");
        int headSize = config.Has("head_dim")
            ? config.GetSize("head_dim")
            : hidden / config.GetDivisor("num_attention_heads", hidden, "hidden_size");
        int keyValueHeads = config.Has("num_key_value_heads") || modelType != LlamaType
            ? config.GetDivisor("num_key_value_heads", heads, "num_attention_heads")
            : heads;
        int vocabulary = config.GetSize("vocab_size");
        int feedForward = config.GetSize("intermediate_size");
        float epsilon = config.GetEpsilon("rms_norm_eps", 1e-6f);
        ActivationFunction activation = ActivationFunctions.Read(config, "hidden_act", "silu");

        return new DecoderDescription
        {
            Family = modelType,
            TensorPrefixes = ["model.", ""],
            VocabularySize = vocabulary,
            ContextLength = config.GetSize("max_position_embeddings"),
            HiddenSize = hidden,
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            HeadSize = headSize,
            TokenEmbedding = new("embed_tokens.weight", vocabulary, hidden),
            Positions = RotaryConfig.Read(config, headSize),
            Layers = [.. Enumerable.Range(0, config.GetSize("num_hidden_layers", DecoderDescription.MostLayers)).Select(i => Layer($"layers.{i}", window(i)))],
            FinalNorm = Norm("norm"),
            OutputEmbedding = config.GetBoolean("tie_word_embeddings", false) ? null : "lm_head.weight",
            EndOfSequenceTokens = config.GetInt32List("eos_token_id"),
        };

        DecoderLayerDescription Layer(string name, int? layerWindow) => new(
            ResidualForm.PreNorm,
            AttentionNorm: Norm($"{name}.input_layernorm"),
            new AttentionDescription(
                new SeparateProjections(
                    Query: new($"{name}.self_attn.q_proj", hidden, heads * headSize, biases.QueryKeyValue),
                    Key: new($"{name}.self_attn.k_proj", hidden, keyValueHeads * headSize, biases.QueryKeyValue),
                    Value: new($"{name}.self_attn.v_proj", hidden, keyValueHeads * headSize, biases.QueryKeyValue)),
                Output: new($"{name}.self_attn.o_proj", heads * headSize, hidden, biases.Output),
                Scale: 1f / MathF.Sqrt(headSize),
                layerWindow),
            MlpNorm: Norm($"{name}.post_attention_layernorm"),
            new MlpDescription(
                Gate: new($"{name}.mlp.gate_proj", hidden, feedForward, biases.Mlp),
                Up: new($"{name}.mlp.up_proj", hidden, feedForward, biases.Mlp),
                activation,
                Down: new($"{name}.mlp.down_proj", feedForward, hidden, biases.Mlp)));

        NormDescription Norm(string name) => new(name, NormKind.RootMeanSquare, hidden, epsilon, IsAffine: true, HasBias: false);
    }

    /// <summary>Which linear layers have a bias.</summary>
    private sealed record Biases(bool QueryKeyValue, bool Output, bool Mlp);
}
