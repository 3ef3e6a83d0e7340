using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>BLOOM (BigScience, arXiv 2211.05100): ALiBi, a norm after the embedding, queries, keys and values fused head by head.</summary>
internal static class BloomFamily
{
    public const string ModelType = "bloom";

    public static readonly string[] Architectures = ["BloomForCausalLM", "BloomModel"];

    /// <summary>
    /// What the published models were trained with. ALiBi knows no end: the config of a model with another length says so.
    /// </summary>
    private const int DefaultContext = 2048;

    /// <summary>Reads the description.</summary>
    /// <exception cref="CheckpointException">A key is missing, of the wrong kind, or its value is not supported.</exception>
    public static DecoderDescription Describe(ConfigReader config)
    {
        // The published configs and those that newer versions of transformers save have different names for the same.
        int hidden = config.GetSize(config.FirstOf("n_embed", "hidden_size"));
        int heads = config.GetDivisor(config.FirstOf("n_head", "num_attention_heads"), hidden, "the hidden size");
        int layers = config.GetSize(config.FirstOf("n_layer", "num_hidden_layers"), DecoderDescription.MostLayers);
        int vocabulary = config.GetSize("vocab_size");
        float epsilon = config.GetEpsilon("layer_norm_epsilon", 1e-5f);
        ResidualForm residual = config.GetBoolean("apply_residual_connection_post_layernorm", false)
            ? ResidualForm.PreNormReplacing
            : ResidualForm.PreNorm;

        return new DecoderDescription
        {
            Family = ModelType,
            TensorPrefixes = ["transformer.", ""],
            VocabularySize = vocabulary,
            ContextLength = config.Has("seq_length") ? config.GetSize("seq_length") : DefaultContext,
            HiddenSize = hidden,
            Heads = heads,
            KeyValueHeads = heads,
            HeadSize = hidden / heads,
            TokenEmbedding = new("word_embeddings.weight", vocabulary, hidden),
            Positions = AlibiPositions.ForHeads(heads),
            EmbeddingNorm = Norm("word_embeddings_layernorm"),
            Layers = [.. Enumerable.Range(0, layers).Select(i => Layer($"h.{i}"))],
            FinalNorm = Norm("ln_f"),
            OutputEmbedding = config.GetBoolean("tie_word_embeddings", true) ? null : "lm_head.weight",
            EndOfSequenceTokens = config.GetInt32List("eos_token_id"),
        };

        DecoderLayerDescription Layer(string name) => new(
            residual,
            AttentionNorm: Norm($"{name}.input_layernorm"),
            new AttentionDescription(
                new FusedProjection(Linear($"{name}.self_attention.query_key_value", hidden, 3 * hidden), FusedOrder.PerHead),
                Output: Linear($"{name}.self_attention.dense", hidden, hidden),
                Scale: 1f / MathF.Sqrt(hidden / heads)),
            MlpNorm: Norm($"{name}.post_attention_layernorm"),
            new MlpDescription(
                Gate: null,
                Up: Linear($"{name}.mlp.dense_h_to_4h", hidden, 4 * hidden),
                ActivationFunction.GeluTanh,
                Down: Linear($"{name}.mlp.dense_4h_to_h", 4 * hidden, hidden)));

        static LinearDescription Linear(string name, int inputs, int outputs) => new(name, inputs, outputs, HasBias: true);

        NormDescription Norm(string name) => new(name, NormKind.Layer, hidden, epsilon, IsAffine: true, HasBias: true);
    }
}
