using System.Buffers.Binary;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Tests.Conversion;

/// <summary>Writes OPT checkpoints of a few kilobytes with random weights.</summary>
internal static class TinyOpt
{
    public const int Hidden = 8, FeedForward = 16, Layers = 2, Vocabulary = 24, Context = 16;

    public const string Config = """
        {"activation_function":"relu","architectures":["OPTForCausalLM"],"do_layer_norm_before":true,"ffn_dim":16,"hidden_size":8,
        "max_position_embeddings":16,"model_type":"opt","num_attention_heads":2,"num_hidden_layers":2,"vocab_size":24,"word_embed_proj_dim":8}
        """;

    /// <summary>The names of the linear layers.</summary>
    public static IEnumerable<string> Linear =>
        Enumerable.Range(0, Layers).SelectMany(static layer => ((string[])["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2"])
            .Select(name => $"model.decoder.layers.{layer}.{name}"));

    public static string Write(TemporaryFolder folder, string name = "source", TensorType type = TensorType.F16, int seed = 1)
    {
        Directory.CreateDirectory(folder.At(name));
        folder.Write($"{name}/config.json", Config);
        folder.Write($"{name}/tokenizer.json", "{}");
        folder.Write($"{name}/training_args.bin", "not to be carried");
        Random random = new(seed);
        (string Name, long[] Shape)[] tensors = [.. Tensors()];
        using SafetensorsWriter writer = new(folder.At($"{name}/model.safetensors"), tensors.Select(tensor => (tensor.Name, type, (System.Collections.Immutable.ImmutableArray<long>)[.. tensor.Shape])));
        foreach ((string tensor, long[] shape) in tensors)
        {
            for (long i = shape.Aggregate(1L, static (product, dimension) => product * dimension); i > 0; i--)
            {
                writer.Append(tensor, Bytes(random.NextSingle() - 0.5f, type));
            }
        }

        writer.Complete();
        return folder.At(name);
    }

    private static byte[] Bytes(float value, TensorType type)
    {
        byte[] bytes = new byte[type == TensorType.F32 ? 4 : 2];
        switch (type)
        {
            case TensorType.F32:
                BinaryPrimitives.WriteSingleLittleEndian(bytes, value);
                break;
            case TensorType.F16:
                BinaryPrimitives.WriteHalfLittleEndian(bytes, (Half)value);
                break;
            default:
                BinaryPrimitives.WriteUInt16LittleEndian(bytes, ((BFloat16)value).Bits);
                break;
        }

        return bytes;
    }

    private static IEnumerable<(string Name, long[] Shape)> Tensors()
    {
        yield return ("model.decoder.embed_tokens.weight", [Vocabulary, Hidden]);
        yield return ("model.decoder.embed_positions.weight", [Context + 2, Hidden]);
        yield return ("model.decoder.final_layer_norm.weight", [Hidden]);
        yield return ("model.decoder.final_layer_norm.bias", [Hidden]);
        foreach (string linear in Linear)
        {
            int outputs = linear.EndsWith("fc1", StringComparison.Ordinal) ? FeedForward : Hidden;
            yield return (linear + ".weight", [outputs, linear.EndsWith("fc2", StringComparison.Ordinal) ? FeedForward : Hidden]);
            yield return (linear + ".bias", [outputs]);
        }

        foreach (string norm in Enumerable.Range(0, Layers).SelectMany(static layer => ((string[])["self_attn_layer_norm", "final_layer_norm"]).Select(name => $"model.decoder.layers.{layer}.{name}")))
        {
            yield return (norm + ".weight", [Hidden]);
            yield return (norm + ".bias", [Hidden]);
        }
    }
}
