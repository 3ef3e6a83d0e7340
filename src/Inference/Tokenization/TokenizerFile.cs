using System.Text.Json;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads and checks <c>tokenizer.json</c>. A component that is not implemented is an error, never ignored.</summary>
internal sealed class TokenizerFile
{
    /// <summary>Several times the largest tokenizer of a known model.</summary>
    private const int MaxBytes = 128 << 20;

    private const string FileName = "tokenizer.json";

    private readonly string _path;

    private TokenizerFile(string path, JsonElement root)
    {
        _path = path;
        JsonElement model = Section(root, "model");
        RequireBpe(model);
        Vocabulary = ReadVocabulary(model);
        Model = new ByteLevelBpeModel(
            Vocabulary, ReadMerges(model), ReadUnknownId(model), Flag(model, "fuse_unk", false), Flag(model, "ignore_merges", false));
        AddedTokens = ReadAddedTokens(root);
        RequireNothing(root, "normalizer");
        JsonElement preTokenizer = RequireByteLevel(root, "pre_tokenizer");
        AddPrefixSpace = Flag(preTokenizer, "add_prefix_space", true);
        WordSplitter = Flag(preTokenizer, "use_regex", true) ? new Gpt2WordSplitter() : new WholeTextSplitter();
        RequireByteLevel(root, "decoder");
        // Truncation and padding are decided by the caller, as transformers does, whatever the file was saved with.
        if (root.TryGetProperty("post_processor", out JsonElement postProcessor))
        {
            ReadPostProcessor(postProcessor);
        }
    }

    /// <summary>The model's own tokens.</summary>
    public Dictionary<string, int> Vocabulary { get; }

    /// <summary>The model.</summary>
    public ByteLevelBpeModel Model { get; }

    /// <summary>The added tokens, with different contents.</summary>
    public List<AddedToken> AddedTokens { get; }

    /// <summary>Whether a space is put before text that does not begin with one.</summary>
    public bool AddPrefixSpace { get; }

    /// <summary>How text is cut into words.</summary>
    public IWordSplitter WordSplitter { get; }

    /// <summary>The special tokens before a text.</summary>
    public int[] PrefixIds { get; private set; } = [];

    /// <summary>The special tokens after a text.</summary>
    public int[] SuffixIds { get; private set; } = [];

    /// <summary>Reads the file, or the one in a folder.</summary>
    /// <exception cref="TokenizerException">It is missing, damaged or not supported.</exception>
    public static TokenizerFile Read(string folderOrFile)
    {
        string path = folderOrFile;
        byte[] json;
        try
        {
            if (Directory.Exists(folderOrFile))
            {
                path = new CheckpointFolder(folderOrFile).Find(FileName) ?? throw new TokenizerException(
                    $"{folderOrFile}: there is no {FileName} in the folder. Save it with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...).");
            }

            json = SmallFile.ReadAll(path, MaxBytes);
        }
        catch (CheckpointException exception)
        {
            throw new TokenizerException(exception.Message, exception);
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? new TokenizerFile(path, document.RootElement)
                : throw TokenizerException.Invalid(path, "the file is not a JSON object.");
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a string that is not valid UTF-8, or half of a surrogate pair.
            throw TokenizerException.Invalid(path, $"the file is not valid JSON ({JsonText.Describe(exception)}).", exception);
        }
    }

    private void RequireBpe(JsonElement model)
    {
        // Older files leave the type out.
        string type = model.TryGetProperty("type", out JsonElement value) ? Text(value, "model.type") : model.TryGetProperty("merges", out _) ? "BPE" : "(none)";
        if (type != "BPE")
        {
            throw TokenizerException.Unsupported(_path, "model", type);
        }

        foreach (string option in (ReadOnlySpan<string>)["continuing_subword_prefix", "end_of_word_suffix"])
        {
            if (TryGetPresent(model, option, out JsonElement affix) && Text(affix, option).Length != 0)
            {
                throw TokenizerException.Unsupported(_path, "model option", $"{option} = {Text(affix, option)}");
            }
        }

        if (TryGetPresent(model, "dropout", out JsonElement dropout) && !(dropout.ValueKind == JsonValueKind.Number && dropout.GetDouble() == 0))
        {
            throw TokenizerException.Unsupported(_path, "model option", $"dropout = {JsonText.Show(dropout)}");
        }

        if (Flag(model, "byte_fallback", false))
        {
            throw TokenizerException.Unsupported(_path, "model option", "byte_fallback = true");
        }
    }

    private Dictionary<string, int> ReadVocabulary(JsonElement model)
    {
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        Dictionary<int, string> tokenOfId = [];
        foreach (JsonProperty entry in Section(model, "vocab").EnumerateObject())
        {
            int id = Id(entry.Value, entry.Name);
            if (!tokenOfId.TryAdd(id, entry.Name))
            {
                throw TokenizerException.Invalid(
                    _path, $"the tokens {TokenizerException.Quote(tokenOfId[id])} and {TokenizerException.Quote(entry.Name)} have the same id {id}.");
            }

            vocabulary.Add(entry.Name, id);
        }

        return vocabulary;
    }

    private MergeTable ReadMerges(JsonElement model)
    {
        JsonElement merges = Section(model, "merges", JsonValueKind.Array);
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
            return (Text(merge[0], $"merges[{rank}]"), Text(merge[1], $"merges[{rank}]"));
        }

        if (merge.ValueKind == JsonValueKind.String && merge.GetString()!.Split(' ') is [string left, string right])
        {
            return (left, right);
        }

        throw TokenizerException.Invalid(_path, $"merges[{rank}] is {JsonText.Show(merge)}, two tokens were expected.");
    }

    private int MergeId(string token, int rank) =>
        Vocabulary.TryGetValue(token, out int id)
            ? id
            : throw TokenizerException.Invalid(_path, $"merges[{rank}] needs the token {TokenizerException.Quote(token)}, which is not in the vocabulary.");

    private int? ReadUnknownId(JsonElement model)
    {
        if (!TryGetPresent(model, "unk_token", out JsonElement value))
        {
            return null;
        }

        string token = Text(value, "unk_token");
        return Vocabulary.TryGetValue(token, out int id)
            ? id
            : throw TokenizerException.Invalid(_path, $"unk_token {TokenizerException.Quote(token)} is not in the vocabulary.");
    }

    private List<AddedToken> ReadAddedTokens(JsonElement root)
    {
        Dictionary<string, AddedToken> byContent = new(StringComparer.Ordinal);
        if (!TryGetPresent(root, "added_tokens", out _))
        {
            return [];
        }

        Dictionary<int, string> tokenOfId = Vocabulary.ToDictionary(static entry => entry.Value, static entry => entry.Key);
        foreach (JsonElement entry in Section(root, "added_tokens", JsonValueKind.Array).EnumerateArray())
        {
            if (entry.ValueKind != JsonValueKind.Object || !entry.TryGetProperty("content", out JsonElement contentValue) || !entry.TryGetProperty("id", out JsonElement idValue))
            {
                throw TokenizerException.Invalid(_path, $"an added token is {JsonText.Show(entry)}, an object with id and content was expected.");
            }

            string content = Text(contentValue, "added_tokens.content");
            int id = Id(idValue, content);
            if (content.Length == 0)
            {
                // The reference implementation ignores these.
                continue;
            }

            if (content.Length > AddedToken.MaxLength)
            {
                throw TokenizerException.Invalid(_path, $"the added token {TokenizerException.Quote(content)} is longer than {AddedToken.MaxLength} characters.");
            }

            bool known = Vocabulary.TryGetValue(content, out int knownId) || (byContent.TryGetValue(content, out AddedToken? twin) && (knownId = twin.Id) >= 0);
            if ((known && knownId != id) || (!tokenOfId.TryAdd(id, content) && tokenOfId[id] != content))
            {
                throw TokenizerException.Invalid(
                    _path,
                    known
                        ? $"the token {TokenizerException.Quote(content)} has the ids {knownId} and {id}."
                        : $"the tokens {TokenizerException.Quote(tokenOfId[id])} and {TokenizerException.Quote(content)} have the same id {id}.");
            }

            byContent[content] = new AddedToken(
                id,
                content,
                Flag(entry, "single_word", false),
                Flag(entry, "lstrip", false),
                Flag(entry, "rstrip", false),
                Flag(entry, "normalized", true),
                Flag(entry, "special", false));
        }

        return [.. byContent.Values];
    }

    private void RequireNothing(JsonElement root, string section)
    {
        foreach (JsonElement component in Components(root, section))
        {
            throw TokenizerException.Unsupported(_path, section, TypeOf(component, section));
        }
    }

    private JsonElement RequireByteLevel(JsonElement root, string section)
    {
        JsonElement[] components = [.. Components(root, section)];
        foreach (JsonElement component in components)
        {
            if (TypeOf(component, section) is string type && type != "ByteLevel")
            {
                throw TokenizerException.Unsupported(_path, section, type);
            }
        }

        return components.Length == 1
            ? components[0]
            : throw TokenizerException.Unsupported(_path, section, components.Length == 0 ? "(none)" : "Sequence of several ByteLevel");
    }

    /// <summary>The components of a section: none, one, or those of a sequence (the reference implementation nests them at will).</summary>
    private IEnumerable<JsonElement> Components(JsonElement root, string section) =>
        TryGetPresent(root, section, out JsonElement component) ? Flatten(component, section) : [];

    private IEnumerable<JsonElement> Flatten(JsonElement component, string section)
    {
        if (TypeOf(component, section) != "Sequence")
        {
            return [component];
        }

        // normalizers, pretokenizers, processors, decoders: the list's name depends on the section.
        JsonElement list = component.EnumerateObject().FirstOrDefault(static property => property.Value.ValueKind == JsonValueKind.Array).Value;
        return list.ValueKind == JsonValueKind.Array
            ? list.EnumerateArray().SelectMany(inner => Flatten(inner, section))
            : throw TokenizerException.Invalid(_path, $"the {section} is a Sequence without a list.");
    }

    private void ReadPostProcessor(JsonElement postProcessor)
    {
        if (postProcessor.ValueKind == JsonValueKind.Null)
        {
            return;
        }

        bool hasTemplate = false;
        foreach (JsonElement component in Flatten(postProcessor, "post_processor"))
        {
            switch (TypeOf(component, "post_processor"))
            {
                case "ByteLevel":
                    // Only moves offsets, which are not kept.
                    break;
                case "TemplateProcessing" when !hasTemplate:
                    hasTemplate = true;
                    ReadTemplate(component);
                    break;
                case string type:
                    throw TokenizerException.Unsupported(_path, "post_processor", hasTemplate ? $"second {type}" : type);
            }
        }
    }

    private void ReadTemplate(JsonElement template)
    {
        List<int> prefix = [];
        List<int> suffix = [];
        bool hasText = false;
        foreach (JsonElement piece in Section(template, "single", JsonValueKind.Array).EnumerateArray())
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
                throw TokenizerException.Invalid(_path, $"the template has {JsonText.Show(piece)}, a special token or the text A once was expected.");
            }
        }

        if (!hasText)
        {
            throw TokenizerException.Invalid(_path, "the template leaves the text A out.");
        }

        PrefixIds = [.. prefix];
        SuffixIds = [.. suffix];
    }

    private List<int> TemplateIds(JsonElement template, JsonElement special)
    {
        string name = special.ValueKind == JsonValueKind.Object && special.TryGetProperty("id", out JsonElement id)
            ? Text(id, "SpecialToken.id")
            : throw TokenizerException.Invalid(_path, "a special token of the template has no id.");
        JsonElement tokens = Section(template, "special_tokens");
        if (!tokens.TryGetProperty(name, out JsonElement token) || token.ValueKind != JsonValueKind.Object)
        {
            throw TokenizerException.Invalid(_path, $"the template's special token {TokenizerException.Quote(name)} is not in its special_tokens.");
        }

        List<int> ids = [];
        foreach (JsonElement value in Section(token, "ids", JsonValueKind.Array).EnumerateArray())
        {
            int tokenId = Id(value, name);
            if (!Vocabulary.ContainsValue(tokenId) && !AddedTokens.Exists(added => added.Id == tokenId))
            {
                throw TokenizerException.Invalid(_path, $"the template's special token {TokenizerException.Quote(name)} has the id {tokenId}, which no token has.");
            }

            ids.Add(tokenId);
        }

        return ids;
    }

    private string TypeOf(JsonElement component, string section) =>
        component.ValueKind == JsonValueKind.Object && component.TryGetProperty("type", out JsonElement type)
            ? Text(type, $"{section}.type")
            : throw TokenizerException.Invalid(_path, $"the {section} is {JsonText.Show(component)}, an object with a type was expected.");

    private JsonElement Section(JsonElement parent, string name, JsonValueKind kind = JsonValueKind.Object) =>
        parent.TryGetProperty(name, out JsonElement section) && section.ValueKind == kind
            ? section
            : throw TokenizerException.Invalid(_path, $"'{name}' is missing or not a JSON {kind}.");

    private static bool TryGetPresent(JsonElement parent, string name, out JsonElement value) =>
        parent.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;

    private string Text(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : throw TokenizerException.Invalid(_path, $"'{name}' is {JsonText.Show(value)}, a string was expected.");

    private int Id(JsonElement value, string token) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int id) && id >= 0
            ? id
            : throw TokenizerException.Invalid(
                _path, $"the token {TokenizerException.Quote(token)} has the id {JsonText.Show(value)}, a whole number from 0 was expected.");

    private bool Flag(JsonElement parent, string name, bool defaultValue)
    {
        if (!TryGetPresent(parent, name, out JsonElement value))
        {
            return defaultValue;
        }

        return value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? value.GetBoolean()
            : throw TokenizerException.Invalid(_path, $"'{name}' is {JsonText.Show(value)}, true or false was expected.");
    }
}
