using System.Collections.Concurrent;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>Byte-level BPE: a word's UTF-8 bytes are the initial symbols, so that any text can be encoded.</summary>
internal sealed class ByteLevelBpeModel
{
    /// <summary>Longer words hardly recur.</summary>
    private const int LongestCachedWord = 48;

    /// <summary>Words of natural language recur so much that this many catch nearly all; bounds the memory.</summary>
    private const int MostCachedWords = 32_768;

    private const int Unknown = -1;

    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _vocabularyBySpan;
    private readonly MergeTable _merges;
    private readonly int[] _idOfByte = new int[256];
    private readonly bool _fuseUnknown;
    private readonly bool _ignoreMerges;
    private readonly ConcurrentDictionary<string, int[]> _cache = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int[]>.AlternateLookup<ReadOnlySpan<char>> _cacheBySpan;
    private int _cached;

    /// <summary>Makes a model.</summary>
    /// <param name="vocabulary">The id of every token, written in <see cref="ByteLevelAlphabet"/>; compared ordinally.</param>
    /// <param name="merges">The merges, among ids of the vocabulary.</param>
    /// <param name="unknownId">What a byte without a token becomes; null leaves such bytes out, as the reference implementation does.</param>
    /// <param name="fuseUnknown">Neighbouring bytes without a token become one unknown token.</param>
    /// <param name="ignoreMerges">A word that is a token as a whole becomes that token, whatever the merges would give.</param>
    public ByteLevelBpeModel(
        Dictionary<string, int> vocabulary, MergeTable merges, int? unknownId, bool fuseUnknown, bool ignoreMerges)
    {
        _vocabulary = vocabulary;
        _vocabularyBySpan = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        _cacheBySpan = _cache.GetAlternateLookup<ReadOnlySpan<char>>();
        _merges = merges;
        _fuseUnknown = fuseUnknown;
        _ignoreMerges = ignoreMerges;
        UnknownId = unknownId;
        for (int value = 0; value < _idOfByte.Length; value++)
        {
            _idOfByte[value] = vocabulary.GetValueOrDefault(ByteLevelAlphabet.ToCharacter((byte)value).ToString(), Unknown);
        }
    }

    /// <summary>What a byte without a token becomes, if anything.</summary>
    public int? UnknownId { get; }

    /// <summary>The id of a token of the model's own vocabulary.</summary>
    public bool TryGetId(string token, out int id) => _vocabulary.TryGetValue(token, out id);

    /// <summary>Appends a word's tokens. Safe to call from several threads, each with its own scratch.</summary>
    public void Encode(ReadOnlySpan<char> word, List<int> ids, MergeScratch scratch)
    {
        if (word.Length > LongestCachedWord)
        {
            ids.AddRange(EncodeUncached(word, scratch));
            return;
        }

        if (!_cacheBySpan.TryGetValue(word, out int[]? cached))
        {
            cached = EncodeUncached(word, scratch).ToArray();
            if (Volatile.Read(ref _cached) < MostCachedWords && _cacheBySpan.TryAdd(word, cached))
            {
                Interlocked.Increment(ref _cached);
            }
        }

        ids.AddRange(cached);
    }

    /// <summary>The tokens of a word, in the scratch's memory.</summary>
    private ReadOnlySpan<int> EncodeUncached(ReadOnlySpan<char> word, MergeScratch scratch)
    {
        Span<byte> bytes = scratch.Bytes(checked(word.Length * 3));
        bytes = bytes[..Encoding.UTF8.GetBytes(word, bytes)];
        Span<int> symbols = scratch.Symbols(bytes.Length);
        if (_ignoreMerges)
        {
            Span<char> written = scratch.Characters(bytes.Length);
            for (int i = 0; i < bytes.Length; i++)
            {
                written[i] = ByteLevelAlphabet.ToCharacter(bytes[i]);
            }

            if (_vocabularyBySpan.TryGetValue(written, out int whole))
            {
                symbols[0] = whole;
                return symbols[..1];
            }
        }

        int count = 0;
        bool lastUnknown = false;
        foreach (byte value in bytes)
        {
            int id = _idOfByte[value];
            bool unknown = id == Unknown;
            if (!unknown || (UnknownId is not null && !(_fuseUnknown && lastUnknown)))
            {
                symbols[count++] = unknown ? UnknownId!.Value : id;
            }

            lastUnknown = unknown;
        }

        return symbols[.._merges.Apply(symbols[..count], scratch)];
    }
}
