using System.Text.Json;
using KernelGen.Messages;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads the <c>post_processor</c> of a tokenizer file: the special tokens before and after a text.</summary>
internal sealed class PostProcessorReader
{
    private const string Name = "post_processor";

    private readonly TokenizerJson _json;
    private readonly Func<int, bool> _isToken;

    private PostProcessorReader(TokenizerJson json, Func<int, bool> isToken)
    {
        _json = json;
        _isToken = isToken;
    }

    /// <summary>Reads it.</summary>
    /// <param name="json">The file.</param>
    /// <param name="root">Its root.</param>
    /// <param name="isToken">Whether an id has a token.</param>
    public static (int[] Prefix, int[] Suffix) Read(TokenizerJson json, JsonElement root, Func<int, bool> isToken)
    {
        PostProcessorReader reader = new(json, isToken);
        (int[] Prefix, int[] Suffix)? template = null;
        foreach (JsonElement component in json.Components(root, Name))
        {
            switch (json.TypeOf(component, Name))
            {
                case "ByteLevel":
                    // Only moves offsets, which are not kept.
                    break;
                case "TemplateProcessing" when template is null:
                    template = reader.Template(component);
                    break;
                case "RobertaProcessing" when template is null:
                    template = ([reader.PairId(component, "cls")], [reader.PairId(component, "sep")]);
                    break;
                case string type:
                    throw json.Unsupported(Name, template is not null ? $"second {type}" : type);
            }
        }

        return template ?? ([], []);
    }

    private (int[] Prefix, int[] Suffix) Template(JsonElement template)
    {
        List<int> prefix = [];
        List<int> suffix = [];
        bool hasText = false;
        foreach (JsonElement piece in _json.Section(template, "single", JsonValueKind.Array).EnumerateArray())
        {
            if (piece.ValueKind == JsonValueKind.Object && piece.TryGetProperty("SpecialToken", out JsonElement special))
            {
                (hasText ? suffix : prefix).AddRange(TemplateIds(template, special));
            }
            else if (piece.ValueKind == JsonValueKind.Object && piece.TryGetProperty("Sequence", out JsonElement sequence)
                && sequence.ValueKind == JsonValueKind.Object && sequence.TryGetProperty("id", out JsonElement id)
                && id.ValueKind == JsonValueKind.String && id.GetString() == "A" && !hasText)
            {
                hasText = true;
            }
            else
            {
                throw _json.Invalid($"the template has {JsonText.Show(piece)}, a special token or the text A once was expected.");
            }
        }

        return hasText ? ([.. prefix], [.. suffix]) : throw _json.Invalid("the template leaves the text A out.");
    }

    private List<int> TemplateIds(JsonElement template, JsonElement special)
    {
        string name = special.ValueKind == JsonValueKind.Object && special.TryGetProperty("id", out JsonElement id)
            ? _json.Text(id, "SpecialToken.id")
            : throw _json.Invalid("a special token of the template has no id.");
        JsonElement tokens = _json.Section(template, "special_tokens");
        if (!tokens.TryGetProperty(name, out JsonElement token) || token.ValueKind != JsonValueKind.Object)
        {
            throw _json.Invalid($"the template's special token {TokenizerException.Quote(name)} is not in its special_tokens.");
        }

        return [.. _json.Section(token, "ids", JsonValueKind.Array).EnumerateArray().Select(value => KnownId(value, name))];
    }

    /// <summary>The id of a pair [token, id].</summary>
    private int PairId(JsonElement component, string key)
    {
        JsonElement pair = _json.Section(component, key, JsonValueKind.Array);
        return pair.GetArrayLength() == 2
            ? KnownId(pair[1], _json.Text(pair[0], key))
            : throw _json.Invalid($"'{key}' is {JsonText.Show(pair)}, a token and its id were expected.");
    }

    private int KnownId(JsonElement value, string name)
    {
        int id = _json.Id(value, name);
        return _isToken(id) ? id : throw _json.Invalid($"the template's special token {TokenizerException.Quote(name)} has the id {id}, which no token has.");
    }
}
