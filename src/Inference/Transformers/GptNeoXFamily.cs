using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// GPT-NeoX and Pythia (Black et al., arXiv 2204.06745): attention and MLP side by side, rotary positions on a part of each head, queries,
/// keys and values fused head by head.
/// </summary>
internal static class GptNeoXFamily
{
    public const string ModelType = "gpt_neox";

    public static readonly string[] Architectures = ["GPTNeoXForCausalLM", "GPTNeoXModel"];

    /// <summary>Reads the description.</summary>
    /// <exception cref="CheckpointException">A key is missing, of the wrong kind, or its value is not supported.</exception>
    public static DecoderDescription Describe(ConfigReader config)
    {
        int hidden = config.GetSize("hidden_size");
        int heads = config.GetDivisor("num_attention_heads", hidden, "hidden_size");
        int headSize = hidden / heads;
        int vocabulary = config.GetSize("vocab_size");
        int context = config.GetSize("max_position_embeddings");
        int feedForward = config.GetSize("intermediate_size");
        float epsilon = config.GetEpsilon("layer_norm_eps", 1e-5f);
        bool attentionBias = config.GetBoolean("attention_bias", true);
        ActivationFunction activation = ActivationFunctions.Read(config, "hidden_act", "gelu");
        ResidualForm residual = config.GetBoolean("use_parallel_residual", true) ? ResidualForm.Parallel : ResidualForm.PreNorm;

        return new DecoderDescription
        {
            Family = ModelType,
            TensorPrefixes = ["gpt_neox.", ""],
            VocabularySize = vocabulary,
            ContextLength = context,
            HiddenSize = hidden,
            Heads = heads,
            KeyValueHeads = heads,
            HeadSize = headSize,
            TokenEmbedding = new("embed_in.weight", vocabulary, hidden),
            Positions = RotaryConfig.Read(config, headSize, baseKey: "rotary_emb_base", shareKey: "rotary_pct", defaultShare: 0.25f),
            Layers = [.. Enumerable.Range(0, config.GetSize("num_hidden_layers", DecoderDescription.MostLayers)).Select(i => Layer($"layers.{i}"))],
            FinalNorm = Norm("final_layer_norm"),
            OutputEmbedding = config.GetBoolean("tie_word_embeddings", false) ? null : "embed_out.weight",
            EndOfSequenceTokens = config.GetInt32List("eos_token_id"),
        };

        DecoderLayerDescription Layer(string name) => new(
            residual,
            AttentionNorm: Norm($"{name}.input_layernorm"),
            new AttentionDescription(
                new FusedProjection(
                    new($"{name}.attention.query_key_value", hidden, 3 * hidden, attentionBias), FusedOrder.PerHead),
                Output: new($"{name}.attention.dense", hidden, hidden, attentionBias),
                Scale: 1f / MathF.Sqrt(headSize)),
            MlpNorm: Norm($"{name}.post_attention_layernorm"),
            new MlpDescription(
                Gate: null,
                Up: new($"{name}.mlp.dense_h_to_4h", hidden, feedForward, HasBias: true),
                activation,
                Down: new($"{name}.mlp.dense_4h_to_h", feedForward, hidden, HasBias: true)));

        NormDescription Norm(string name) => new(name, NormKind.Layer, hidden, epsilon, IsAffine: true, HasBias: true);
    }
}
