using System.Globalization;
using System.Text;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Benchmarks;

/// <summary>The sizes of published models, by name, as their configs have them.</summary>
internal static class ModelShapes
{
    private static readonly Dictionary<string, string> Configs = new(StringComparer.OrdinalIgnoreCase)
    {
        ["opt-125m"] = Opt(12, 768, 12),
        ["opt-1.3b"] = Opt(24, 2048, 32),
        ["opt-2.7b"] = Opt(32, 2560, 32),
        ["opt-6.7b"] = Opt(32, 4096, 32),
        ["opt-13b"] = Opt(40, 5120, 40),
        ["opt-30b"] = Opt(48, 7168, 56),
        ["opt-66b"] = Opt(64, 9216, 72),
        ["llama-7b"] = Llama(32, 4096, 32, 32, 11008, 32000, 4096, 10000),
        ["llama-13b"] = Llama(40, 5120, 40, 40, 13824, 32000, 4096, 10000),
        ["llama-70b"] = Llama(80, 8192, 64, 8, 28672, 32000, 4096, 10000),
        ["llama-3-8b"] = Llama(32, 4096, 32, 8, 14336, 128256, 8192, 500000),
    };

    /// <summary>The names.</summary>
    public static IEnumerable<string> Names => Configs.Keys;

    /// <summary>The description of a shape; null where there is none of that name.</summary>
    public static DecoderDescription? Find(string name) => Configs.TryGetValue(name, out string? config)
        ? ModelFamilies.Describe(ConfigReader.Parse(name, Encoding.UTF8.GetBytes(config)))
        : null;

    private static string Opt(int layers, int hidden, int heads) => string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"model_type":"opt","num_hidden_layers":{{layers}},"hidden_size":{{hidden}},"num_attention_heads":{{heads}},"ffn_dim":{{4 * hidden}},"vocab_size":50272,"max_position_embeddings":2048,"eos_token_id":2}""");

    private static string Llama(int layers, int hidden, int heads, int keyValueHeads, int inner, int vocabulary, int context, int theta) => string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"model_type":"llama","num_hidden_layers":{{layers}},"hidden_size":{{hidden}},"num_attention_heads":{{heads}},"num_key_value_heads":{{keyValueHeads}},"intermediate_size":{{inner}},"vocab_size":{{vocabulary}},"max_position_embeddings":{{context}},"rope_theta":{{theta}},"eos_token_id":2}""");
}
