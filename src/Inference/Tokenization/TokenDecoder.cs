using System.Globalization;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>How tokens become text: the decoder of a tokenizer file, in the order in which its steps are applied.</summary>
internal sealed record TokenDecoder
{
    /// <summary>Whether tokens are written in <see cref="ByteLevelAlphabet"/>; the other steps are void then.</summary>
    public bool IsByteLevel { get; init; }

    /// <summary>What is done to each token's text: (token, whether it is the text's first).</summary>
    public IReadOnlyList<Func<string, bool, string>> Steps { get; init; } = [];

    /// <summary>
    /// Whether a token <c>&lt;0xNN&gt;</c> is a byte. Neighbouring ones are decoded together: where they are not valid UTF-8 as a
    /// whole, each becomes U+FFFD.
    /// </summary>
    public bool ByteFallback { get; init; }

    /// <summary>Left out where the whole text begins with it.</summary>
    public char Stripped { get; init; }

    /// <summary>How many of <see cref="Stripped"/> are left out at most.</summary>
    public int MostStripped { get; init; }

    /// <summary>What a token adds to a text.</summary>
    public DecodedPiece Decode(string token, bool isFirst)
    {
        if (IsByteLevel)
        {
            return new DecodedPiece(ByteLevelAlphabet.ToBytes(token), IsFallback: false);
        }

        foreach (Func<string, bool, string> step in Steps)
        {
            token = step(token, isFirst);
        }

        return ByteFallback && token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
            && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? new DecodedPiece([value], IsFallback: true)
            : new DecodedPiece(Encoding.UTF8.GetBytes(token), IsFallback: false);
    }
}
