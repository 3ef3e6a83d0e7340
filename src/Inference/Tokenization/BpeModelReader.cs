using System.Text.Json;
using KernelGen.Messages;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads the <c>model</c> of a tokenizer file, which must be BPE.</summary>
internal sealed class BpeModelReader
{
    private readonly TokenizerJson _json;
    private readonly JsonElement _model;

    /// <summary>Reads the vocabulary.</summary>
    /// <exception cref="TokenizerException">It is damaged or not supported.</exception>
    public BpeModelReader(TokenizerJson json, JsonElement root)
    {
        _json = json;
        _model = json.Section(root, "model");
        RequireBpe(_model);
        Vocabulary = ReadVocabulary(_model);
    }

    /// <summary>The model's own tokens.</summary>
    public Dictionary<string, int> Vocabulary { get; }

    /// <summary>Makes the model.</summary>
    /// <param name="isByteLevel">Whether the pre-tokenizer turns text to bytes.</param>
    /// <exception cref="TokenizerException">It is damaged or not supported.</exception>
    public BpeModel Read(bool isByteLevel)
    {
        bool byteFallback = _json.Flag(_model, "byte_fallback", false);
        BpeOptions options = new(ReadUnknownId(_model), _json.Flag(_model, "fuse_unk", false), _json.Flag(_model, "ignore_merges", false));
        MergeTable merges = ReadMerges(_model);
        if (!isByteLevel)
        {
            return new CharacterBpeModel(Vocabulary, merges, options, byteFallback);
        }

        return byteFallback
            ? throw _json.Unsupported("model option", "byte_fallback = true with a ByteLevel pre_tokenizer")
            : new ByteLevelBpeModel(Vocabulary, merges, options);
    }

    private void RequireBpe(JsonElement model)
    {
        // Older files leave the type out.
        string type = model.TryGetProperty("type", out JsonElement value) ? _json.Text(value, "model.type") : model.TryGetProperty("merges", out _) ? "BPE" : "(none)";
        if (type != "BPE")
        {
            throw _json.Unsupported("model", type);
        }

        foreach (string option in (ReadOnlySpan<string>)["continuing_subword_prefix", "end_of_word_suffix"])
        {
            if (TokenizerJson.TryGetPresent(model, option, out JsonElement affix) && _json.Text(affix, option).Length != 0)
            {
                throw _json.Unsupported("model option", $"{option} = {_json.Text(affix, option)}");
            }
        }

        if (TokenizerJson.TryGetPresent(model, "dropout", out JsonElement dropout) && !(dropout.ValueKind == JsonValueKind.Number && dropout.GetDouble() == 0))
        {
            throw _json.Unsupported("model option", $"dropout = {JsonText.Show(dropout)}");
        }
    }

    private Dictionary<string, int> ReadVocabulary(JsonElement model)
    {
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        Dictionary<int, string> tokenOfId = [];
        foreach (JsonProperty entry in _json.Section(model, "vocab").EnumerateObject())
        {
            int id = _json.Id(entry.Value, entry.Name);
            if (!tokenOfId.TryAdd(id, entry.Name))
            {
                throw _json.Invalid($"the tokens {TokenizerException.Quote(tokenOfId[id])} and {TokenizerException.Quote(entry.Name)} have the same id {id}.");
            }

            vocabulary.Add(entry.Name, id);
        }

        return vocabulary;
    }

    private MergeTable ReadMerges(JsonElement model)
    {
        JsonElement merges = _json.Section(model, "merges", JsonValueKind.Array);
        MergeTable table = new(merges.GetArrayLength());
        int rank = 0;
        foreach (JsonElement merge in merges.EnumerateArray())
        {
            (string left, string right) = ReadMerge(merge, rank);
            table.Add(rank, MergeId(left, rank), MergeId(right, rank), MergeId(left + right, rank));
            rank++;
        }

        return table;
    }

    /// <summary>A merge is a list of two strings, or in older files one string with a space between them.</summary>
    private (string Left, string Right) ReadMerge(JsonElement merge, int rank)
    {
        if (merge.ValueKind == JsonValueKind.Array && merge.GetArrayLength() == 2)
        {
            return (_json.Text(merge[0], $"merges[{rank}]"), _json.Text(merge[1], $"merges[{rank}]"));
        }

        if (merge.ValueKind == JsonValueKind.String && merge.GetString()!.Split(' ') is [string left, string right])
        {
            return (left, right);
        }

        throw _json.Invalid($"merges[{rank}] is {JsonText.Show(merge)}, two tokens were expected.");
    }

    private int MergeId(string token, int rank) =>
        Vocabulary.TryGetValue(token, out int id)
            ? id
            : throw _json.Invalid($"merges[{rank}] needs the token {TokenizerException.Quote(token)}, which is not in the vocabulary.");

    private int? ReadUnknownId(JsonElement model)
    {
        if (!TokenizerJson.TryGetPresent(model, "unk_token", out JsonElement value))
        {
            return null;
        }

        string token = _json.Text(value, "unk_token");
        return Vocabulary.TryGetValue(token, out int id)
            ? id
            : throw _json.Invalid($"unk_token {TokenizerException.Quote(token)} is not in the vocabulary.");
    }
}
