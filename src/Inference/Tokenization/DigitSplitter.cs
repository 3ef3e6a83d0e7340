using System.Globalization;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>Cuts numbers out of a text, whole or digit by digit: the pre-tokenizer <c>Digits</c>.</summary>
internal sealed class DigitSplitter(bool individualDigits)
    : DelimiterSplitter(individualDigits ? DelimiterBehavior.Isolated : DelimiterBehavior.Contiguous)
{
    /// <inheritdoc/>
    protected override void Find(ReadOnlySpan<char> text, List<TextPiece> delimiters)
    {
        for (int i = 0; i < text.Length;)
        {
            _ = Rune.DecodeFromUtf16(text[i..], out Rune rune, out int length);
            if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber)
            {
                delimiters.Add(new TextPiece(i, length));
            }

            i += length;
        }
    }
}
