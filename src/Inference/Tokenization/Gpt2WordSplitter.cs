using System.Globalization;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>
/// GPT-2's pattern: <c>'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+</c>.
/// </summary>
/// <remarks>
/// Written by hand because .NET's regular expressions match UTF-16 units: a letter beyond the Basic Multilingual Plane would be two
/// characters that are no letters.
/// </remarks>
internal sealed class Gpt2WordSplitter : IWordSplitter
{
    /// <summary>The pattern, as files write it.</summary>
    public const string Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private enum CharacterClass
    {
        Letter,
        Number,
        Space,
        Other,
    }

    /// <inheritdoc/>
    public void Split(ReadOnlySpan<char> text, List<TextPiece> words)
    {
        for (int start = 0; start < text.Length;)
        {
            int length = FirstWordLength(text[start..]);
            words.Add(new TextPiece(start, length));
            start += length;
        }
    }

    /// <summary>The length of the first word of a text that is not empty: at least 1, never past the end.</summary>
    private static int FirstWordLength(ReadOnlySpan<char> text)
    {
        int contraction = ContractionLength(text);
        if (contraction != 0)
        {
            return contraction;
        }

        // One plain space may lead a word of any class.
        int start = text.Length > 1 && text[0] == ' ' && Classify(text[1..], out _) != CharacterClass.Space ? 1 : 0;
        CharacterClass first = Classify(text[start..], out int length);
        int end = start + length;
        while (end < text.Length && Classify(text[end..], out length) == first)
        {
            end += length;
        }

        // White space before a word leaves its last character to that word, unless it has only one. All white space is in the
        // Basic Multilingual Plane, so that a character is one unit.
        return first == CharacterClass.Space && end < text.Length && end > 1 ? end - 1 : end;
    }

    private static int ContractionLength(ReadOnlySpan<char> text)
    {
        if (text.Length < 2 || text[0] != '\'')
        {
            return 0;
        }

        if (text[1] is 's' or 't' or 'm' or 'd')
        {
            return 2;
        }

        return text.StartsWith("'re") || text.StartsWith("'ve") || text.StartsWith("'ll") ? 3 : 0;
    }

    private static CharacterClass Classify(ReadOnlySpan<char> text, out int length)
    {
        char first = text[0];
        if (char.IsAscii(first))
        {
            length = 1;
            return char.IsAsciiLetter(first) ? CharacterClass.Letter
                : char.IsAsciiDigit(first) ? CharacterClass.Number
                : first is ' ' or (>= '\t' and <= '\r') ? CharacterClass.Space
                : CharacterClass.Other;
        }

        // Half of a surrogate pair decodes to U+FFFD, which is what its UTF-8 will be.
        Rune.DecodeFromUtf16(text, out Rune rune, out length);
        if (Rune.IsWhiteSpace(rune))
        {
            return CharacterClass.Space;
        }

        return Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => CharacterClass.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => CharacterClass.Number,
            _ => CharacterClass.Other,
        };
    }
}
