using System.Globalization;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>
/// BPE whose initial symbols are characters, as SentencePiece has it (Kudo and Richardson, arXiv 1808.06226). With byte fallback a
/// character without a token becomes the tokens of its UTF-8 bytes, <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>.
/// </summary>
internal sealed class CharacterBpeModel : BpeModel
{
    private const int Unknown = -1;

    /// <summary>The ids of the byte tokens, <see cref="Unknown"/> where there is none; null without byte fallback.</summary>
    private readonly int[]? _idOfByte;

    public CharacterBpeModel(Dictionary<string, int> vocabulary, MergeTable merges, BpeOptions options, bool byteFallback)
        : base(vocabulary, merges, options)
    {
        _idOfByte = byteFallback
            ? [.. Enumerable.Range(0, 256).Select(value => vocabulary.GetValueOrDefault(string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>"), Unknown))]
            : null;
    }

    /// <inheritdoc/>
    protected override ReadOnlySpan<int> EncodeUncached(ReadOnlySpan<char> word, MergeScratch scratch)
    {
        // A unit of UTF-16 is at most three bytes.
        Span<int> symbols = scratch.Symbols(checked(word.Length * 3));
        if (Options.IgnoreMerges && VocabularyBySpan.TryGetValue(word, out int whole))
        {
            symbols[0] = whole;
            return symbols[..1];
        }

        int count = 0;
        bool lastUnknown = false;
        Span<char> character = stackalloc char[2];
        Span<byte> bytes = stackalloc byte[4];
        while (!word.IsEmpty)
        {
            // Half of a surrogate pair counts as U+FFFD.
            _ = Rune.DecodeFromUtf16(word, out Rune rune, out int length);
            word = word[length..];
            bool unknown = false;
            if (VocabularyBySpan.TryGetValue(character[..rune.EncodeToUtf16(character)], out int id))
            {
                symbols[count++] = id;
            }
            else if (HasAll(bytes[..rune.EncodeToUtf8(bytes)]))
            {
                foreach (byte value in bytes[..rune.Utf8SequenceLength])
                {
                    symbols[count++] = _idOfByte![value];
                }
            }
            else
            {
                unknown = true;
                if (Options.UnknownId is int unknownId && !(Options.FuseUnknown && lastUnknown))
                {
                    symbols[count++] = unknownId;
                }
            }

            lastUnknown = unknown;
        }

        return symbols[..Merges.Apply(symbols[..count], scratch)];
    }

    private bool HasAll(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            if (_idOfByte is null || _idOfByte[value] == Unknown)
            {
                return false;
            }
        }

        return true;
    }
}
