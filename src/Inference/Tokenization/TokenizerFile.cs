using System.Text.Json;
using KernelGen.Inference.Checkpoints;
using KernelGen.Messages;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads and checks <c>tokenizer.json</c>. A component that is not implemented is an error, never ignored.</summary>
internal sealed class TokenizerFile
{
    /// <summary>Several times the largest tokenizer of a known model.</summary>
    private const int MaxBytes = 128 << 20;

    private const string FileName = "tokenizer.json";

    private readonly TokenizerJson _json;

    private TokenizerFile(string path, JsonElement root)
    {
        _json = new TokenizerJson(path);
        BpeModelReader model = new(_json, root);
        Vocabulary = model.Vocabulary;
        AddedTokens = ReadAddedTokens(root);
        Normalizer = NormalizerReader.Read(_json, root);
        (PreTokenizer, bool isByteLevel) = PreTokenizerReader.Read(_json, root);
        Model = model.Read(isByteLevel);
        Decoder = DecoderReader.Read(_json, root);

        // Truncation and padding are decided by the caller, as transformers does, whatever the file was saved with.
        HashSet<int> ids = [.. Vocabulary.Values, .. AddedTokens.Select(token => token.Id)];
        (PrefixIds, SuffixIds) = PostProcessorReader.Read(_json, root, ids.Contains);
    }

    /// <summary>The model's own tokens.</summary>
    public Dictionary<string, int> Vocabulary { get; }

    /// <summary>The model.</summary>
    public BpeModel Model { get; }

    /// <summary>The added tokens, with different contents.</summary>
    public List<AddedToken> AddedTokens { get; }

    /// <summary>What is done to text before anything else.</summary>
    public TextNormalizer Normalizer { get; }

    /// <summary>How text is cut into words; empty where it is one word.</summary>
    public IReadOnlyList<PreTokenizerStage> PreTokenizer { get; }

    /// <summary>How tokens become text.</summary>
    public TokenDecoder Decoder { get; }

    /// <summary>The special tokens before a text.</summary>
    public int[] PrefixIds { get; }

    /// <summary>The special tokens after a text.</summary>
    public int[] SuffixIds { get; }

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
                CheckpointFolder folder = new(folderOrFile);
                if (folder.Find(FileName) is not string file)
                {
                    (path, json) = VocabularyFiles.Read(folder, MaxBytes) ?? throw new TokenizerException(
                        $"{folderOrFile}: there is no {FileName} in the folder, and no {VocabularyFiles.VocabularyName} with {VocabularyFiles.MergesName}. "
                        + "Save it with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...).");
                    return Parse(path, json);
                }

                path = file;
            }

            json = SmallFile.ReadAll(path, MaxBytes);
        }
        catch (CheckpointException exception)
        {
            throw new TokenizerException(exception.Message, exception);
        }

        return Parse(path, json);
    }

    private static TokenizerFile Parse(string path, byte[] json)
    {
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

    private List<AddedToken> ReadAddedTokens(JsonElement root)
    {
        Dictionary<string, AddedToken> byContent = new(StringComparer.Ordinal);
        if (!TokenizerJson.TryGetPresent(root, "added_tokens", out _))
        {
            return [];
        }

        Dictionary<int, string> tokenOfId = Vocabulary.ToDictionary(static entry => entry.Value, static entry => entry.Key);
        foreach (JsonElement entry in _json.Section(root, "added_tokens", JsonValueKind.Array).EnumerateArray())
        {
            if (entry.ValueKind != JsonValueKind.Object || !entry.TryGetProperty("content", out JsonElement contentValue) || !entry.TryGetProperty("id", out JsonElement idValue))
            {
                throw _json.Invalid($"an added token is {JsonText.Show(entry)}, an object with id and content was expected.");
            }

            string content = _json.Text(contentValue, "added_tokens.content");
            int id = _json.Id(idValue, content);
            if (content.Length == 0)
            {
                // The reference implementation ignores these.
                continue;
            }

            if (content.Length > AddedToken.MaxLength)
            {
                throw _json.Invalid($"the added token {TokenizerException.Quote(content)} is longer than {AddedToken.MaxLength} characters.");
            }

            bool known = Vocabulary.TryGetValue(content, out int knownId) || (byContent.TryGetValue(content, out AddedToken? twin) && (knownId = twin.Id) >= 0);
            if ((known && knownId != id) || (!tokenOfId.TryAdd(id, content) && tokenOfId[id] != content))
            {
                throw _json.Invalid(
                    known
                        ? $"the token {TokenizerException.Quote(content)} has the ids {knownId} and {id}."
                        : $"the tokens {TokenizerException.Quote(tokenOfId[id])} and {TokenizerException.Quote(content)} have the same id {id}.");
            }

            byContent[content] = new AddedToken(
                id,
                content,
                _json.Flag(entry, "single_word", false),
                _json.Flag(entry, "lstrip", false),
                _json.Flag(entry, "rstrip", false),
                _json.Flag(entry, "normalized", true),
                _json.Flag(entry, "special", false));
        }

        return [.. byContent.Values];
    }
}
