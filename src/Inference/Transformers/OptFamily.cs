using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>OPT (Zhang et al., <em>OPT: Open Pre-trained Transformer Language Models</em>), in all shapes that its config can describe.</summary>
internal static class OptFamily
{
    public const string ModelType = "opt";

    public static readonly string[] Architectures = ["OPTForCausalLM", "OPTModel"];

    /// <summary>Two rows of the table of positions are left over from fairseq's padding: position 0 is row 2.</summary>
    private const int PositionOffset = 2;

    private const float LayerNormEpsilon = 1e-5f;

    /// <summary>Reads the description.</summary>
    /// <exception cref="CheckpointException">A key is missing, of the wrong kind, or its value is not supported.</exception>
    public static DecoderDescription Describe(ConfigReader config)
    {
        int hidden = config.GetSize("hidden_size");
        int heads = config.GetDivisor("num_attention_heads", hidden, "hidden_size");
        int vocabulary = config.GetSize("vocab_size");
        int context = config.GetSize("max_position_embeddings", int.MaxValue - PositionOffset);
        int embedding = config.Has("word_embed_proj_dim") ? config.GetSize("word_embed_proj_dim") : hidden;
        int feedForward = config.GetSize("ffn_dim");
        bool bias = config.GetBoolean("enable_bias", true);
        bool affine = config.GetBoolean("layer_norm_elementwise_affine", true);
        ResidualForm residual = config.GetBoolean("do_layer_norm_before", true) ? ResidualForm.PreNorm : ResidualForm.PostNorm;
        bool finalNorm = residual == ResidualForm.PreNorm && !config.GetBoolean("_remove_final_layer_norm", false);
        ActivationFunction activation = ActivationFunctions.Read(config, "activation_function", "relu");

        return new DecoderDescription
        {
            Family = ModelType,
            TensorPrefixes = ["model.", ""],
            VocabularySize = vocabulary,
            ContextLength = context,
            HiddenSize = hidden,
            Heads = heads,
            KeyValueHeads = heads,
            HeadSize = hidden / heads,
            TokenEmbedding = new("decoder.embed_tokens.weight", vocabulary, embedding),
            Positions = new LearnedPositions(new("decoder.embed_positions.weight", context + PositionOffset, hidden), PositionOffset),
            ProjectIn = embedding == hidden ? null : new("decoder.project_in", embedding, hidden, HasBias: false),
            Layers = [.. Enumerable.Range(0, config.GetSize("num_hidden_layers", DecoderDescription.MostLayers)).Select(i => Layer($"decoder.layers.{i}"))],
            FinalNorm = finalNorm ? Norm("decoder.final_layer_norm") : null,
            ProjectOut = embedding == hidden ? null : new("decoder.project_out", hidden, embedding, HasBias: false),
            OutputEmbedding = config.GetBoolean("tie_word_embeddings", true) ? null : "lm_head.weight",
            EndOfSequenceTokens = config.GetInt32List("eos_token_id"),
        };

        DecoderLayerDescription Layer(string name) => new(
            residual,
            AttentionNorm: Norm($"{name}.self_attn_layer_norm"),
            new AttentionDescription(
                new SeparateProjections(
                    Query: Linear($"{name}.self_attn.q_proj", hidden, hidden),
                    Key: Linear($"{name}.self_attn.k_proj", hidden, hidden),
                    Value: Linear($"{name}.self_attn.v_proj", hidden, hidden)),
                Output: Linear($"{name}.self_attn.out_proj", hidden, hidden),
                Scale: 1f / MathF.Sqrt(hidden / heads)),
            MlpNorm: Norm($"{name}.final_layer_norm"),
            new MlpDescription(
                Gate: null,
                Up: Linear($"{name}.fc1", hidden, feedForward),
                activation,
                Down: Linear($"{name}.fc2", feedForward, hidden)));

        LinearDescription Linear(string name, int inputs, int outputs) => new(name, inputs, outputs, bias);

        NormDescription Norm(string name) => new(name, NormKind.Layer, hidden, LayerNormEpsilon, affine, HasBias: affine);
    }
}
