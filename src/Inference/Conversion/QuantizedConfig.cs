using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using KernelGen.Messages;

namespace KernelGen.Inference.Conversion;

/// <summary>Writes a <c>config.json</c> with the <c>quantization_config</c> that transformers writes for a model loaded with <c>load_in_8bit</c>.</summary>
internal static class QuantizedConfig
{
    private const int MaxBytes = 16 << 20;

    /// <summary>The output embedding of models that tie it to the token embedding: those have no tensor to take a name from.</summary>
    private const string OutputEmbedding = "lm_head";

    /// <summary>The new config, from the source's.</summary>
    /// <param name="path">The source's <c>config.json</c>.</param>
    /// <param name="description">What it describes.</param>
    /// <param name="options">The scheme and threshold.</param>
    /// <param name="skipped">The layers that stay in floating point.</param>
    public static byte[] Write(string path, DecoderDescription description, ConversionOptions options, IReadOnlyList<string> skipped)
    {
        JsonObject config = Read(path);
        float threshold = options.OutlierThreshold ?? (options.Scheme ?? ConversionOptions.DefaultScheme).RecordedThreshold;
        JsonObject quantization = new()
        {
            ["_load_in_4bit"] = false,
            ["_load_in_8bit"] = true,
            ["bnb_4bit_compute_dtype"] = "float32",
            ["bnb_4bit_quant_storage"] = "uint8",
            ["bnb_4bit_quant_type"] = "fp4",
            ["bnb_4bit_use_double_quant"] = false,
            ["llm_int8_enable_fp32_cpu_offload"] = false,
            ["llm_int8_has_fp16_weight"] = false,

            // Null makes transformers apply the same default rule; a list replaces it, so the output embedding is on it.
            ["llm_int8_skip_modules"] = options.SkipModules.Count == 0
                ? null
                : new JsonArray([OutputModule(description), .. skipped.Select(static name => (JsonNode)name)]),
            ["llm_int8_threshold"] = JsonNode.Parse(FloatText(threshold)),
            ["load_in_4bit"] = false,
            ["load_in_8bit"] = true,
            ["quant_method"] = StoredQuantization.BitsAndBytes,
        };

        // transformers sorts the keys.
        int place = config.TakeWhile(static entry => string.CompareOrdinal(entry.Key, StoredQuantization.Key) < 0).Count();
        config.Remove(StoredQuantization.Key);
        config.Insert(Math.Min(place, config.Count), StoredQuantization.Key, quantization);
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            config.WriteTo(writer);
        }

        stream.WriteByte((byte)'\n');
        return stream.ToArray();
    }

    private static JsonNode OutputModule(DecoderDescription description) =>
        description.OutputEmbedding is { } tensor && tensor.EndsWith(Int8TensorNames.Weight, StringComparison.Ordinal)
            ? tensor[..^Int8TensorNames.Weight.Length]
            : OutputEmbedding;

    private static JsonObject Read(string path)
    {
        byte[] json = SmallFile.ReadAll(path, MaxBytes);
        try
        {
            return JsonNode.Parse(json, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject
                ?? throw CheckpointException.For(path, "the file is not a JSON object.", "Correct it, or download it again.");
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw CheckpointException.For(path, $"the file is not valid JSON ({JsonText.Describe(exception)}).", "Correct it, or download it again.", exception);
        }
    }

    /// <summary>As Python writes a float: 6.0, not 6.</summary>
    private static string FloatText(float value)
    {
        string text = value.ToString("R", CultureInfo.InvariantCulture);
        return text.AsSpan().ContainsAny(".Ee") ? text : text + ".0";
    }
}
