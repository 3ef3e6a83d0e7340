using System.Buffers;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>Turns text into token ids and back, as a checkpoint's <c>tokenizer.json</c> says: byte-level BPE, as GPT-2 and OPT have it.</summary>
/// <remarks>
/// A text goes through these steps: added tokens are found; the text between them is cut into words; each word is merged by the model.
/// Members may be called from several threads at once.
/// </remarks>
public sealed class Tokenizer
{
    private readonly ByteLevelBpeModel _model;
    private readonly IWordSplitter _wordSplitter;
    private readonly bool _addPrefixSpace;
    private readonly AddedTokenSplitter _addedTokens;
    private readonly AddedTokenSplitter _normalizedAddedTokens;
    private readonly Dictionary<string, AddedToken> _addedByContent;
    private readonly Dictionary<int, (string Text, byte[] Bytes, bool Special)> _tokens;
    private readonly int[] _prefixIds;
    private readonly int[] _suffixIds;

    internal Tokenizer(TokenizerFile file)
    {
        _model = file.Model;
        _wordSplitter = file.WordSplitter;
        _addPrefixSpace = file.AddPrefixSpace;
        _addedByContent = file.AddedTokens.ToDictionary(static token => token.Content, StringComparer.Ordinal);
        _addedTokens = new AddedTokenSplitter(file.AddedTokens.Where(static token => !token.Normalized));
        _normalizedAddedTokens = new AddedTokenSplitter(file.AddedTokens.Where(static token => token.Normalized));
        _prefixIds = file.PrefixIds;
        _suffixIds = file.SuffixIds;
        _tokens = new Dictionary<int, (string Text, byte[] Bytes, bool Special)>(file.Vocabulary.Count + file.AddedTokens.Count);
        foreach ((string token, int id) in file.Vocabulary)
        {
            _tokens[id] = (token, ByteLevelAlphabet.ToBytes(token), false);
        }

        foreach (AddedToken token in file.AddedTokens)
        {
            _tokens[token.Id] = (token.Content, ByteLevelAlphabet.ToBytes(token.Content), token.Special);
        }
    }

    /// <summary>The number of tokens, added ones included. A model's embedding may have more rows, to fill its last tile.</summary>
    public int VocabularySize => _tokens.Count;

    /// <summary>Loads a tokenizer.</summary>
    /// <param name="folderOrFile">A checkpoint's folder, which holds <c>tokenizer.json</c>, or that file.</param>
    /// <exception cref="TokenizerException">The file is missing, damaged, or uses a component that is not supported; the message names it.</exception>
    public static Tokenizer Load(string folderOrFile)
    {
        ArgumentNullException.ThrowIfNull(folderOrFile);
        return new Tokenizer(TokenizerFile.Read(folderOrFile));
    }

    /// <summary>Encodes a text. Any text can be encoded; a half of a surrogate pair counts as U+FFFD.</summary>
    /// <param name="text">The text. Added tokens such as <c>&lt;/s&gt;</c> in it become their ids.</param>
    /// <param name="addSpecialTokens">Also adds the tokens that the post-processor puts before and after a text, if any.</param>
    /// <returns>The token ids, each below the vocabulary's largest id.</returns>
    public int[] Encode(ReadOnlySpan<char> text, bool addSpecialTokens = false)
    {
        List<int> ids = new(text.Length / 3 + 8);
        if (addSpecialTokens)
        {
            ids.AddRange(_prefixIds);
        }

        List<TextSegment> segments = [];
        List<TextSegment> inner = [];
        MergeScratch scratch = new();
        _addedTokens.Split(text, 0, segments);
        foreach (TextSegment segment in segments)
        {
            if (segment.TokenId != TextSegment.NoToken)
            {
                ids.Add(segment.TokenId);
                continue;
            }

            inner.Clear();
            _normalizedAddedTokens.Split(text.Slice(segment.Start, segment.Length), segment.Start, inner);
            foreach (TextSegment piece in inner)
            {
                if (piece.TokenId != TextSegment.NoToken)
                {
                    ids.Add(piece.TokenId);
                }
                else
                {
                    EncodeWords(text.Slice(piece.Start, piece.Length), ids, scratch);
                }
            }
        }

        if (addSpecialTokens)
        {
            ids.AddRange(_suffixIds);
        }

        return [.. ids];
    }

    /// <summary>Decodes token ids.</summary>
    /// <param name="ids">The ids. One without a token, as a model with a larger embedding may generate, adds nothing.</param>
    /// <param name="skipSpecialTokens">Leaves out tokens that mark structure, such as <c>&lt;/s&gt;</c>.</param>
    /// <returns>The text; bytes that are not valid UTF-8 become U+FFFD.</returns>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true)
    {
        ArrayBufferWriter<byte> bytes = new(ids.Length * 4 + 16);
        foreach (int id in ids)
        {
            bytes.Write(BytesOf(id, skipSpecialTokens));
        }

        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    /// <summary>Starts to decode tokens one by one.</summary>
    /// <param name="skipSpecialTokens">Leaves out tokens that mark structure.</param>
    public StreamingDecoder CreateStreamingDecoder(bool skipSpecialTokens = true) => new(this, skipSpecialTokens);

    /// <summary>Finds the id of a token.</summary>
    /// <param name="token">The token as the file writes it: an added one as it stands, one of the model in the byte-level alphabet.</param>
    /// <param name="id">Its id, or 0.</param>
    /// <returns>Whether there is such a token.</returns>
    public bool TryGetId(string token, out int id)
    {
        ArgumentNullException.ThrowIfNull(token);
        if (_addedByContent.TryGetValue(token, out AddedToken? added))
        {
            id = added.Id;
            return true;
        }

        return _model.TryGetId(token, out id);
    }

    /// <summary>The token of an id as the file writes it, or null if there is none.</summary>
    /// <param name="id">A token id.</param>
    public string? GetToken(int id) => _tokens.TryGetValue(id, out (string Text, byte[] Bytes, bool Special) token) ? token.Text : null;

    /// <summary>The bytes that a token adds to a text: none for an id without a token, or a special one that is left out.</summary>
    internal ReadOnlySpan<byte> BytesOf(int id, bool skipSpecialTokens) =>
        _tokens.TryGetValue(id, out (string Text, byte[] Bytes, bool Special) token) && !(skipSpecialTokens && token.Special)
            ? token.Bytes
            : [];

    private void EncodeWords(ReadOnlySpan<char> text, List<int> ids, MergeScratch scratch)
    {
        if (_addPrefixSpace && text[0] != ' ')
        {
            text = string.Concat(" ", text);
        }

        while (!text.IsEmpty)
        {
            int length = _wordSplitter.FirstWordLength(text);
            _model.Encode(text[..length], ids, scratch);
            text = text[length..];
        }
    }
}
