using System.Collections.Immutable;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.ConversionBench;

/// <summary>
/// Writes a checkpoint of random float16 weights in the shape of an OPT model: of a real one's size, but of no use for text. The same seed
/// gives the same bytes.
/// </summary>
internal static class SyntheticCheckpoint
{
    private const int Vocabulary = 50272, Context = 2048;

    /// <summary>Values to draw from: enough that rows differ in absmax, few enough to stay in the cache.</summary>
    private const int TableSize = 1 << 14;

    private static readonly Dictionary<string, (int Hidden, int Layers, int Heads, int Vocabulary)> s_shapes = new()
    {
        ["opt-100m"] = (768, 7, 12, 4096),
        ["opt-1.3b"] = (2048, 24, 32, Vocabulary),
        ["opt-2.7b"] = (2560, 32, 32, Vocabulary),
        ["opt-6.7b"] = (4096, 32, 32, Vocabulary),
    };

    public static int Run(Arguments arguments)
    {
        string name = arguments.Text("shape"), folder = arguments.Text("out");
        if (!s_shapes.TryGetValue(name, out var shape))
        {
            throw new ArgumentException($"--shape: there is no '{name}'; use one of {string.Join(", ", s_shapes.Keys)}.");
        }

        if (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any())
        {
            throw new ArgumentException($"--out: {folder} is not empty.");
        }

        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), Config(shape.Hidden, shape.Layers, shape.Heads, shape.Vocabulary));
        (string Name, long[] Shape)[] tensors = [.. Tensors(shape.Hidden, shape.Layers, shape.Vocabulary)];
        Write(folder, tensors, arguments.Number("shard-size", 2_000_000_000), (ulong)arguments.Number("seed", 1));
        return 0;
    }

    private static string Config(int hidden, int layers, int heads, int vocabulary) => string.Create(CultureInfo.InvariantCulture, $$"""
        {
          "activation_function": "relu",
          "architectures": [
            "OPTForCausalLM"
          ],
          "bos_token_id": 2,
          "do_layer_norm_before": true,
          "eos_token_id": 2,
          "ffn_dim": {{4 * hidden}},
          "hidden_size": {{hidden}},
          "max_position_embeddings": {{Context}},
          "model_type": "opt",
          "num_attention_heads": {{heads}},
          "num_hidden_layers": {{layers}},
          "pad_token_id": 1,
          "torch_dtype": "float16",
          "vocab_size": {{vocabulary}},
          "word_embed_proj_dim": {{hidden}}
        }

        """);

    private static IEnumerable<(string Name, long[] Shape)> Tensors(int hidden, int layers, int vocabulary)
    {
        yield return ("model.decoder.embed_tokens.weight", [vocabulary, hidden]);
        yield return ("model.decoder.embed_positions.weight", [Context + 2, hidden]);
        foreach (var norm in Vector("model.decoder.final_layer_norm"))
        {
            yield return norm;
        }

        for (int layer = 0; layer < layers; layer++)
        {
            string name = $"model.decoder.layers.{layer}";
            foreach (var tensor in (IEnumerable<(string, long[])>)
            [
                .. Linear($"{name}.self_attn.k_proj", hidden, hidden), .. Linear($"{name}.self_attn.v_proj", hidden, hidden),
                .. Linear($"{name}.self_attn.q_proj", hidden, hidden), .. Linear($"{name}.self_attn.out_proj", hidden, hidden),
                .. Vector($"{name}.self_attn_layer_norm"), .. Linear($"{name}.fc1", 4 * hidden, hidden),
                .. Linear($"{name}.fc2", hidden, 4 * hidden), .. Vector($"{name}.final_layer_norm"),
            ])
            {
                yield return tensor;
            }
        }

        static IEnumerable<(string, long[])> Linear(string name, int outputs, int inputs) => [($"{name}.weight", [outputs, inputs]), ($"{name}.bias", [outputs])];

        IEnumerable<(string, long[])> Vector(string name) => [($"{name}.weight", [hidden]), ($"{name}.bias", [hidden])];
    }

    private static void Write(string folder, (string Name, long[] Shape)[] tensors, long shardBytes, ulong seed)
    {
        List<List<(string Name, long[] Shape)>> shards = [[]];
        long size = 0, total = 0;
        foreach (var tensor in tensors)
        {
            long bytes = Bytes(tensor.Shape);
            total += bytes;
            if (shards[^1].Count > 0 && size + bytes > shardBytes)
            {
                shards.Add([]);
                size = 0;
            }

            shards[^1].Add(tensor);
            size += bytes;
        }

        Half[] table = Normal(seed);
        StringBuilder index = new();
        for (int i = 0; i < shards.Count; i++)
        {
            string file = shards.Count == 1 ? "model.safetensors" : $"model-{i + 1:D5}-of-{shards.Count:D5}.safetensors";
            using SafetensorsWriter writer = new(
                Path.Combine(folder, file),
                shards[i].Select(static tensor => (tensor.Name, TensorType.F16, ImmutableArray.Create(tensor.Shape))),
                new Dictionary<string, string> { ["format"] = "pt" });
            foreach ((string name, long[] shape) in shards[i])
            {
                Fill(writer, name, Bytes(shape), table, seed);
                index.Append(index.Length == 0 ? "\n" : ",\n").Append(CultureInfo.InvariantCulture, $"    \"{name}\": \"{file}\"");
            }

            writer.Complete();
            Console.WriteLine($"{file}: {shards[i].Count} tensors");
        }

        if (shards.Count > 1)
        {
            File.WriteAllText(
                Path.Combine(folder, "model.safetensors.index.json"),
                string.Create(CultureInfo.InvariantCulture, $"{{\n  \"metadata\": {{\n    \"total_size\": {total}\n  }},\n  \"weight_map\": {{{index}\n  }}\n}}\n"));
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{total} bytes of tensors in {folder}"));
    }

    private static long Bytes(long[] shape) => shape.Aggregate(2L, static (bytes, dimension) => bytes * dimension);

    /// <summary>Weights as models have them: normal, a deviation of 0.02.</summary>
    private static Half[] Normal(ulong seed)
    {
        Random random = new((int)seed);
        Half[] table = new Half[TableSize];
        for (int i = 0; i < table.Length; i++)
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            table[i] = (Half)(0.02 * radius * Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        return table;
    }

    private static void Fill(SafetensorsWriter writer, string name, long bytes, Half[] table, ulong seed)
    {
        const ulong Prime = 0x100000001B3;
        ulong state = name.Aggregate(seed + 0xCBF29CE484222325, static (hash, letter) => (hash ^ letter) * Prime) | 1;
        Half[] values = new Half[1 << 20];
        for (long written = 0; written < bytes;)
        {
            int count = (int)Math.Min(values.Length, (bytes - written) / 2);
            for (int i = 0; i < count; i += 4)
            {
                // xorshift64: four draws a step.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                for (int j = 0; j < Math.Min(4, count - i); j++)
                {
                    values[i + j] = table[(int)(state >> (16 * j)) & (TableSize - 1)];
                }
            }

            writer.Append(name, MemoryMarshal.AsBytes(values.AsSpan(0, count)));
            written += 2L * count;
        }
    }
}
