using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>Byte-level BPE: a word's UTF-8 bytes are the initial symbols, so that any text can be encoded.</summary>
internal sealed class ByteLevelBpeModel : BpeModel
{
    private const int Unknown = -1;

    private readonly int[] _idOfByte = new int[256];

    /// <summary>Makes a model whose vocabulary is written in <see cref="ByteLevelAlphabet"/>.</summary>
    public ByteLevelBpeModel(Dictionary<string, int> vocabulary, MergeTable merges, BpeOptions options)
        : base(vocabulary, merges, options)
    {
        for (int value = 0; value < _idOfByte.Length; value++)
        {
            _idOfByte[value] = vocabulary.GetValueOrDefault(ByteLevelAlphabet.ToCharacter((byte)value).ToString(), Unknown);
        }
    }

    /// <inheritdoc/>
    protected override ReadOnlySpan<int> EncodeUncached(ReadOnlySpan<char> word, MergeScratch scratch)
    {
        Span<byte> bytes = scratch.Bytes(checked(word.Length * 3));
        bytes = bytes[..Encoding.UTF8.GetBytes(word, bytes)];
        Span<int> symbols = scratch.Symbols(bytes.Length);
        if (Options.IgnoreMerges)
        {
            Span<char> written = scratch.Characters(bytes.Length);
            for (int i = 0; i < bytes.Length; i++)
            {
                written[i] = ByteLevelAlphabet.ToCharacter(bytes[i]);
            }

            if (VocabularyBySpan.TryGetValue(written, out int whole))
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
            if (!unknown || (Options.UnknownId is not null && !(Options.FuseUnknown && lastUnknown)))
            {
                symbols[count++] = unknown ? Options.UnknownId!.Value : id;
            }

            lastUnknown = unknown;
        }

        return symbols[..Merges.Apply(symbols[..count], scratch)];
    }
}
