using System.Text;
using System.Text.Json;
using KernelGen.Inference.Checkpoints;
using KernelGen.Messages;

namespace KernelGen.Inference.Tokenization;

/// <summary>
/// The files from before <c>tokenizer.json</c>, as GPT-2 and OPT were published: <c>vocab.json</c>, <c>merges.txt</c>, and beside them
/// what may be in <c>tokenizer_config.json</c>, <c>special_tokens_map.json</c> and <c>added_tokens.json</c>. They are put together to what
/// a <c>tokenizer.json</c> of the same tokenizer would be, so that there is one reader.
/// </summary>
internal static class VocabularyFiles
{
    public const string VocabularyName = "vocab.json";

    public const string MergesName = "merges.txt";

    private const string ConfigName = "tokenizer_config.json";

    private const int MostConfigBytes = 16 << 20;

    private static readonly string[] s_specialTokens = ["bos_token", "eos_token", "unk_token", "pad_token"];

    /// <summary>GPT-2's own token for all purposes, which its files do not name.</summary>
    private const string DefaultSpecialToken = "<|endoftext|>";

    /// <summary>The path of the vocabulary, for messages, and the JSON; null where the files are not there.</summary>
    /// <exception cref="CheckpointException">A file cannot be read or is no JSON object.</exception>
    /// <exception cref="TokenizerException">They are of another kind of tokenizer, or contradict each other.</exception>
    public static (string Path, byte[] Json)? Read(CheckpointFolder folder, int mostBytes)
    {
        if (folder.Find(VocabularyName) is not string vocabularyPath || folder.Find(MergesName) is not string mergesPath)
        {
            return null;
        }

        try
        {
            return (vocabularyPath, Combine(folder, vocabularyPath, mergesPath, mostBytes));
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException)
        {
            // A string that is not valid UTF-8, or half of a surrogate pair.
            throw TokenizerException.Invalid(vocabularyPath, "a string in it, or in a file beside it, is not valid Unicode.", exception);
        }
    }

    private static byte[] Combine(CheckpointFolder folder, string vocabularyPath, string mergesPath, int mostBytes)
    {
        using JsonDocument vocabulary = Parse(vocabularyPath, mostBytes);
        string configPath = folder.Find(ConfigName) ?? vocabularyPath;
        using JsonDocument? config = configPath == vocabularyPath ? null : Parse(configPath, MostConfigBytes);
        using JsonDocument? map = folder.Find("special_tokens_map.json") is string mapPath ? Parse(mapPath, MostConfigBytes) : null;
        using JsonDocument? added = folder.Find("added_tokens.json") is string addedPath ? Parse(addedPath, MostConfigBytes) : null;
        TokenizerJson json = new(configPath);
        JsonElement options = config?.RootElement ?? default;
        if (config is not null && TokenizerJson.TryGetPresent(options, "tokenizer_class", out JsonElement kind)
            && json.Text(kind, "tokenizer_class") is string name and not ("GPT2Tokenizer" or "GPT2TokenizerFast"))
        {
            throw new TokenizerException(
                $"{configPath}: vocab.json and merges.txt are read for the tokenizer_class 'GPT2Tokenizer', not for '{MessageText.Shorten(name)}', which needs tokenizer.json. Put that file beside them.");
        }

        Dictionary<string, JsonElement> specials = [];
        foreach (string key in s_specialTokens)
        {
            if ((config is not null && TokenizerJson.TryGetPresent(options, key, out JsonElement token))
                || (map is not null && TokenizerJson.TryGetPresent(map.RootElement, key, out token)))
            {
                specials.Add(key, token);
            }
        }

        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream))
        {
            writer.WriteStartObject();
            Dictionary<string, int> ids = WriteAddedTokens(writer, json, vocabulary.RootElement, added?.RootElement, specials);
            writer.WriteStartObject("pre_tokenizer");
            writer.WriteString("type", "ByteLevel");
            writer.WriteBoolean("add_prefix_space", config is not null && json.Flag(options, "add_prefix_space", false));
            writer.WriteEndObject();
            writer.WriteStartObject("decoder");
            writer.WriteString("type", "ByteLevel");
            writer.WriteEndObject();
            if (config is not null && json.Flag(options, "add_bos_token", false))
            {
                WriteTemplate(writer, json, specials, ids);
            }

            writer.WriteStartObject("model");
            writer.WriteString("type", "BPE");
            writer.WritePropertyName("vocab");
            vocabulary.RootElement.WriteTo(writer);
            writer.WriteStartArray("merges");
            foreach (string line in Encoding.UTF8.GetString(SmallFile.ReadAll(mergesPath, mostBytes)).Split('\n'))
            {
                string merge = line.TrimEnd('\r');
                if (merge.Length != 0 && !merge.StartsWith("#version", StringComparison.Ordinal))
                {
                    writer.WriteStringValue(merge);
                }
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        return stream.ToArray();
    }

    /// <summary>Writes the added tokens and returns their ids.</summary>
    private static Dictionary<string, int> WriteAddedTokens(
        Utf8JsonWriter writer, TokenizerJson json, JsonElement vocabulary, JsonElement? added, Dictionary<string, JsonElement> specials)
    {
        Dictionary<string, (int Id, JsonElement Flags, bool Special)> tokens = new(StringComparer.Ordinal);
        if (added is JsonElement addedTokens)
        {
            foreach (JsonProperty token in addedTokens.EnumerateObject())
            {
                tokens.Add(token.Name, (json.Id(token.Value, token.Name), default, false));
            }
        }

        foreach ((string key, JsonElement value) in specials)
        {
            string content = Content(json, key, value);
            int id = tokens.TryGetValue(content, out var known) ? known.Id
                : vocabulary.TryGetProperty(content, out JsonElement entry) ? json.Id(entry, content)
                : throw json.Invalid($"'{key}' is {TokenizerException.Quote(content)}, which is not in {VocabularyName}.");
            tokens[content] = (id, value, true);
        }

        if (specials.Count == 0 && vocabulary.TryGetProperty(DefaultSpecialToken, out JsonElement defaultId))
        {
            tokens[DefaultSpecialToken] = (json.Id(defaultId, DefaultSpecialToken), default, true);
        }

        writer.WriteStartArray("added_tokens");
        foreach ((string content, (int id, JsonElement flags, bool special)) in tokens)
        {
            writer.WriteStartObject();
            writer.WriteNumber("id", id);
            writer.WriteString("content", content);
            foreach (string flag in (ReadOnlySpan<string>)["single_word", "lstrip", "rstrip", "normalized"])
            {
                writer.WriteBoolean(flag, flags.ValueKind == JsonValueKind.Object && json.Flag(flags, flag, false));
            }

            writer.WriteBoolean("special", special);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        return tokens.ToDictionary(static token => token.Key, static token => token.Value.Id, StringComparer.Ordinal);
    }

    private static void WriteTemplate(Utf8JsonWriter writer, TokenizerJson json, Dictionary<string, JsonElement> specials, Dictionary<string, int> ids)
    {
        string start = specials.TryGetValue("bos_token", out JsonElement token) ? Content(json, "bos_token", token) : DefaultSpecialToken;
        if (!ids.TryGetValue(start, out int id))
        {
            throw json.Invalid($"'add_bos_token' is true, but there is no token {TokenizerException.Quote(start)}.");
        }

        writer.WriteStartObject("post_processor");
        writer.WriteString("type", "TemplateProcessing");
        writer.WriteStartArray("single");
        WriteReference("SpecialToken", start);
        WriteReference("Sequence", "A");
        writer.WriteEndArray();
        writer.WriteStartObject("special_tokens");
        writer.WriteStartObject(start);
        writer.WriteStartArray("ids");
        writer.WriteNumberValue(id);
        writer.WriteEndArray();
        writer.WriteEndObject();
        writer.WriteEndObject();
        writer.WriteEndObject();

        void WriteReference(string kind, string name)
        {
            writer.WriteStartObject();
            writer.WriteStartObject(kind);
            writer.WriteString("id", name);
            writer.WriteEndObject();
            writer.WriteEndObject();
        }
    }

    /// <summary>A special token is its content, or an object with it and flags.</summary>
    private static string Content(TokenizerJson json, string key, JsonElement value) =>
        value.ValueKind == JsonValueKind.Object ? json.RequiredText(value, "content") : json.Text(value, key);

    private static JsonDocument Parse(string path, int mostBytes)
    {
        byte[] json = SmallFile.ReadAll(path, mostBytes);
        try
        {
            JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                return document;
            }

            document.Dispose();
        }
        catch (JsonException exception)
        {
            throw TokenizerException.Invalid(path, $"the file is not valid JSON ({JsonText.Describe(exception)}).", exception);
        }

        throw TokenizerException.Invalid(path, "the file is not a JSON object.");
    }
}
