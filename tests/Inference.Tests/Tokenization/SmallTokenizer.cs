using System.Text.Json;
using System.Text.Json.Nodes;
using KernelGen.Inference.Tokenization;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>
/// A tokenizer small enough to reason about: the 256 bytes (each with its own value as id), a few merges, and whatever a test changes.
/// </summary>
internal static class SmallTokenizer
{
    public static JsonObject Json(params string[] merges)
    {
        JsonObject vocabulary = [];
        for (int value = 0; value < 256; value++)
        {
            vocabulary[ByteLevelAlphabet.ToCharacter((byte)value).ToString()] = value;
        }

        JsonArray pairs = [];
        foreach (string merge in merges)
        {
            string[] parts = merge.Split(' ');
            string merged = parts[0] + parts[1];
            if (!vocabulary.ContainsKey(merged))
            {
                vocabulary[merged] = vocabulary.Count;
            }

            pairs.Add(new JsonArray(parts[0], parts[1]));
        }

        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(),
            ["normalizer"] = null,
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = true },
            ["post_processor"] = null,
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel" },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = pairs },
        };
    }

    public static JsonObject WithAdded(this JsonObject json, int id, string content, string flags = "")
    {
        JsonObject token = new() { ["id"] = id, ["content"] = content, ["normalized"] = false };
        foreach (string flag in flags.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            token[flag] = true;
        }

        json["added_tokens"]!.AsArray().Add(token);
        return json;
    }

    public static Tokenizer Load(JsonNode json)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", json.ToJsonString(new JsonSerializerOptions { MaxDepth = 1000 }));
        return Tokenizer.Load(folder.Root);
    }

    /// <summary>The tokens of a text as the file writes them, separated by bars.</summary>
    public static string Tokens(this Tokenizer tokenizer, string text, bool addSpecialTokens = false) =>
        string.Join('|', tokenizer.Encode(text, addSpecialTokens).Select(id => tokenizer.GetToken(id)));
}
