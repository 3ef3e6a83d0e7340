using System.Collections.Concurrent;

namespace KernelGen.Inference.Tokenization;

/// <summary>Byte pair encoding (Sennrich et al., arXiv 1508.07909): a word's symbols, merged pair by pair. What the symbols are at first is the subclass's matter.</summary>
internal abstract class BpeModel
{
    /// <summary>Longer words hardly recur.</summary>
    private const int LongestCachedWord = 48;

    /// <summary>Words of natural language recur so much that this many catch nearly all; bounds the memory.</summary>
    private const int MostCachedWords = 32_768;

    private readonly Dictionary<string, int> _vocabulary;
    private readonly ConcurrentDictionary<string, int[]> _cache = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int[]>.AlternateLookup<ReadOnlySpan<char>> _cacheBySpan;
    private int _cached;

    /// <summary>Makes a model.</summary>
    /// <param name="vocabulary">The id of every token; compared ordinally.</param>
    /// <param name="merges">The merges, among ids of the vocabulary.</param>
    /// <param name="options">What else the file says.</param>
    protected BpeModel(Dictionary<string, int> vocabulary, MergeTable merges, BpeOptions options)
    {
        _vocabulary = vocabulary;
        VocabularyBySpan = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        _cacheBySpan = _cache.GetAlternateLookup<ReadOnlySpan<char>>();
        Merges = merges;
        Options = options;
    }

    /// <summary>The merges.</summary>
    protected MergeTable Merges { get; }

    /// <summary>What else the file says.</summary>
    protected BpeOptions Options { get; }

    /// <summary>The id of every token.</summary>
    protected Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> VocabularyBySpan { get; }

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
    protected abstract ReadOnlySpan<int> EncodeUncached(ReadOnlySpan<char> word, MergeScratch scratch);
}

/// <summary>Options of a BPE model.</summary>
/// <param name="UnknownId">What a symbol without a token becomes; null leaves such symbols out, as the reference implementation does.</param>
/// <param name="FuseUnknown">Neighbouring symbols without a token become one unknown token.</param>
/// <param name="IgnoreMerges">A word that is a token as a whole becomes that token, whatever the merges would give.</param>
internal sealed record BpeOptions(int? UnknownId, bool FuseUnknown, bool IgnoreMerges);
