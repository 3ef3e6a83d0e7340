using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// GPT-2 (Radford et al., <em>Language Models are Unsupervised Multitask Learners</em>): learned positions, fused queries, keys and values;
/// its linear layers are stored the other way round.
/// </summary>
internal static class Gpt2Family
{
    public const string ModelType = "gpt2";

    public static readonly string[] Architectures = ["GPT2LMHeadModel", "GPT2Model"];

    /// <summary>Reads the description.</summary>
    /// <exception cref="CheckpointException">A key is missing, of the wrong kind, or its value is not supported.</exception>
    public static DecoderDescription Describe(ConfigReader config)
    {
        int hidden = config.GetSize("n_embd");
        int heads = config.GetDivisor("n_head", hidden, "n_embd");
        int vocabulary = config.GetSize("vocab_size");
        int context = config.GetSize("n_positions");
        int feedForward = config.Has("n_inner") ? config.GetSize("n_inner") : checked(4 * hidden);
        float epsilon = config.GetEpsilon("layer_norm_epsilon", 1e-5f);
        ActivationFunction activation = ActivationFunctions.Read(config, "activation_function", "gelu_new");
        float scale = config.GetBoolean("scale_attn_weights", true) ? 1f / MathF.Sqrt(hidden / heads) : 1;
        bool scaleByLayer = config.GetBoolean("scale_attn_by_inverse_layer_idx", false);
        config.RequireFalse("add_cross_attention");

        return new DecoderDescription
        {
            Family = ModelType,
            TensorPrefixes = ["transformer.", ""],
            VocabularySize = vocabulary,
            ContextLength = context,
            HiddenSize = hidden,
            Heads = heads,
            KeyValueHeads = heads,
            HeadSize = hidden / heads,
            TokenEmbedding = new("wte.weight", vocabulary, hidden),
            Positions = new LearnedPositions(new("wpe.weight", context, hidden), Offset: 0),
            Layers = [.. Enumerable.Range(0, config.GetSize("n_layer", DecoderDescription.MostLayers)).Select(i => Layer($"h.{i}", scaleByLayer ? scale / (i + 1) : scale))],
            FinalNorm = Norm("ln_f"),
            OutputEmbedding = config.GetBoolean("tie_word_embeddings", true) ? null : "lm_head.weight",
            EndOfSequenceTokens = config.GetInt32List("eos_token_id"),
        };

        DecoderLayerDescription Layer(string name, float layerScale) => new(
            ResidualForm.PreNorm,
            AttentionNorm: Norm($"{name}.ln_1"),
            new AttentionDescription(
                new FusedProjection(Linear($"{name}.attn.c_attn", hidden, 3 * hidden), FusedOrder.Blocks),
                Output: Linear($"{name}.attn.c_proj", hidden, hidden),
                layerScale),
            MlpNorm: Norm($"{name}.ln_2"),
            new MlpDescription(
                Gate: null,
                Up: Linear($"{name}.mlp.c_fc", hidden, feedForward),
                activation,
                Down: Linear($"{name}.mlp.c_proj", feedForward, hidden)));

        static LinearDescription Linear(string name, int inputs, int outputs) => new(name, inputs, outputs, HasBias: true, IsTransposed: true);

        NormDescription Norm(string name) => new(name, NormKind.Layer, hidden, epsilon, IsAffine: true, HasBias: true);
    }
}
