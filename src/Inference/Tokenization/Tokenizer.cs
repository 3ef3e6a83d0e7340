using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>
/// Turns text into token ids and back, as a checkpoint's <c>tokenizer.json</c> says: byte pair encoding of bytes (GPT-2, OPT, BLOOM,
/// GPT-NeoX, LLaMA 3) or of characters with byte fallback (SentencePiece, as LLaMA 2 has it).
/// </summary>
/// <remarks>
/// A text goes through these steps: added tokens are found; the text between them is normalized and cut into words; each word is merged
/// by the model. Members may be called from several threads at once.
/// </remarks>
public sealed class Tokenizer
{
    private readonly BpeModel _model;
    private readonly TextNormalizer _normalizer;
    private readonly IReadOnlyList<PreTokenizerStage> _stages;
    private readonly TokenDecoder _decoder;
    private readonly AddedTokenSplitter _addedTokens;
    private readonly AddedTokenSplitter _normalizedAddedTokens;
    private readonly Dictionary<string, AddedToken> _addedByContent;
    private readonly Dictionary<int, (string Text, DecodedPiece Piece, bool Special)> _tokens;
    private readonly int[] _prefixIds;
    private readonly int[] _suffixIds;

    internal Tokenizer(TokenizerFile file)
    {
        _model = file.Model;
        _normalizer = file.Normalizer;
        _stages = file.PreTokenizer;
        _decoder = file.Decoder;
        _addedByContent = file.AddedTokens.ToDictionary(static token => token.Content, StringComparer.Ordinal);
        _addedTokens = new AddedTokenSplitter(file.AddedTokens.Where(static token => !token.Normalized));

        // What is looked for in normalized text is normalized, too.
        _normalizedAddedTokens = new AddedTokenSplitter(file.AddedTokens
            .Where(static token => token.Normalized)
            .Select(token => token with { Content = _normalizer.Apply(token.Content) })
            .Where(static token => token.Content.Length != 0));
        _prefixIds = file.PrefixIds;
        _suffixIds = file.SuffixIds;
        _tokens = new Dictionary<int, (string Text, DecodedPiece Piece, bool Special)>(file.Vocabulary.Count + file.AddedTokens.Count);
        foreach ((string token, int id) in file.Vocabulary)
        {
            _tokens[id] = (token, _decoder.Decode(token, isFirst: false), false);
        }

        foreach (AddedToken token in file.AddedTokens)
        {
            _tokens[token.Id] = (token.Content, _decoder.Decode(token.Content, isFirst: false), token.Special);
        }
    }

    /// <summary>The number of tokens, added ones included. A model's embedding may have more rows, to fill its last tile.</summary>
    public int VocabularySize => _tokens.Count;

    /// <summary>Loads a tokenizer.</summary>
    /// <param name="folderOrFile">
    /// A checkpoint's folder, which holds <c>tokenizer.json</c>, or <c>vocab.json</c> and <c>merges.txt</c> as GPT-2 and OPT were
    /// published; or a <c>tokenizer.json</c>.
    /// </param>
    /// <exception cref="TokenizerException">The file is missing, damaged, or uses a component that is not supported; the message names it.</exception>
    public static Tokenizer Load(string folderOrFile)
    {
        ArgumentNullException.ThrowIfNull(folderOrFile);
        return new Tokenizer(TokenizerFile.Read(folderOrFile));
    }

    /// <summary>Encodes a text. Any text can be encoded; a half of a surrogate pair counts as U+FFFD.</summary>
    /// <param name="text">The text. Added tokens such as <c>&lt;/s&gt;</c> in it become their ids.</param>
    /// <param name="addSpecialTokens">Also adds the tokens that the post-processor puts before and after a text, if any.</param>
    /// <returns>The token ids.</returns>
    /// <exception cref="TokenizerException">A pattern of the file takes too long on this text, or its normalizers make it grow without measure.</exception>
    public int[] Encode(ReadOnlySpan<char> text, bool addSpecialTokens = false)
    {
        List<int> ids = new(text.Length / 3 + 8);
        if (addSpecialTokens)
        {
            ids.AddRange(_prefixIds);
        }

        List<TextSegment> segments = [];
        List<TextSegment> inner = [];
        EncodingScratch scratch = new(_stages.Count);
        _addedTokens.Split(text, 0, segments);
        foreach (TextSegment segment in segments)
        {
            if (segment.TokenId != TextSegment.NoToken)
            {
                ids.Add(segment.TokenId);
                continue;
            }

            inner.Clear();
            ReadOnlySpan<char> normalized = _normalizer.Apply(text.Slice(segment.Start, segment.Length));
            _normalizedAddedTokens.Split(normalized, 0, inner);
            foreach (TextSegment piece in inner)
            {
                if (piece.TokenId != TextSegment.NoToken)
                {
                    ids.Add(piece.TokenId);
                }
                else
                {
                    EncodeWords(normalized.Slice(piece.Start, piece.Length), 0, segment.Start + piece.Start == 0, ids, scratch);
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
        StringBuilder text = new((ids.Length * 4) + 16);
        DecodingState state = new(_decoder);
        foreach (int id in ids)
        {
            Append(id, skipSpecialTokens, state, text);
        }

        state.Flush(text);
        return text.ToString();
    }

    /// <summary>Starts to decode tokens one by one.</summary>
    /// <param name="skipSpecialTokens">Leaves out tokens that mark structure.</param>
    public StreamingDecoder CreateStreamingDecoder(bool skipSpecialTokens = true) => new(this, skipSpecialTokens, new DecodingState(_decoder));

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
    public string? GetToken(int id) => _tokens.TryGetValue(id, out (string Text, DecodedPiece Piece, bool Special) token) ? token.Text : null;

    /// <summary>Appends what a token adds to a text: nothing for an id without a token, or a special one that is left out.</summary>
    internal void Append(int id, bool skipSpecialTokens, DecodingState state, StringBuilder text)
    {
        if (_tokens.TryGetValue(id, out (string Text, DecodedPiece Piece, bool Special) token) && !(skipSpecialTokens && token.Special))
        {
            state.Append(state.IsStart ? _decoder.Decode(token.Text, isFirst: true) : token.Piece, text);
        }
    }

    /// <summary>Cuts a text into words, stage by stage, and appends their tokens.</summary>
    private void EncodeWords(ReadOnlySpan<char> text, int stage, bool isStart, List<int> ids, EncodingScratch scratch)
    {
        if (stage == _stages.Count)
        {
            _model.Encode(text, ids, scratch.Merging);
            return;
        }

        (IWordSplitter splitter, TextPrefix? prefix) = _stages[stage];
        text = prefix is null ? text : prefix.Apply(text, isStart);
        List<TextPiece> words = scratch.Words(stage);
        splitter.Split(text, words);
        foreach (TextPiece word in words)
        {
            EncodeWords(text.Slice(word.Start, word.Length), stage + 1, isStart && word.Start == 0, ids, scratch);
        }
    }
}
