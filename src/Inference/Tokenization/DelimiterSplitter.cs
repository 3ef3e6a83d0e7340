namespace KernelGen.Inference.Tokenization;

/// <summary>Cuts a text at delimiters: the rules that are common to all pre-tokenizers of this kind.</summary>
internal abstract class DelimiterSplitter(DelimiterBehavior behavior, bool invert = false) : IWordSplitter
{
    /// <inheritdoc/>
    public void Split(ReadOnlySpan<char> text, List<TextPiece> words)
    {
        List<TextPiece> delimiters = [];
        Find(text, delimiters);
        int end = 0;
        bool lastIsDelimiter = false;
        foreach (TextPiece delimiter in delimiters)
        {
            Add(new TextPiece(end, delimiter.Start - end), invert);
            Add(delimiter, !invert);
            end = delimiter.Start + delimiter.Length;
        }

        Add(new TextPiece(end, text.Length - end), invert);

        void Add(TextPiece piece, bool isDelimiter)
        {
            if (piece.Length == 0)
            {
                return;
            }

            bool joins = behavior switch
            {
                DelimiterBehavior.MergedWithPrevious => isDelimiter && !lastIsDelimiter,
                DelimiterBehavior.MergedWithNext => lastIsDelimiter && !isDelimiter,
                DelimiterBehavior.Contiguous => isDelimiter == lastIsDelimiter,
                _ => false,
            };
            if (joins && words.Count > 0 && words[^1] is var last && last.Start + last.Length == piece.Start)
            {
                words[^1] = last with { Length = last.Length + piece.Length };
            }
            else if (!(isDelimiter && behavior == DelimiterBehavior.Removed))
            {
                words.Add(piece);
            }

            lastIsDelimiter = isDelimiter;
        }
    }

    /// <summary>Appends the delimiters in a text: in order, not overlapping; empty ones count for nothing.</summary>
    protected abstract void Find(ReadOnlySpan<char> text, List<TextPiece> delimiters);
}

/// <summary>The delimiters are the occurrences of a text that is not empty.</summary>
internal sealed class LiteralSplitter(string literal, DelimiterBehavior behavior, bool invert = false) : DelimiterSplitter(behavior, invert)
{
    /// <inheritdoc/>
    protected override void Find(ReadOnlySpan<char> text, List<TextPiece> delimiters)
    {
        for (int start = 0; text[start..].IndexOf(literal) is int found and >= 0; start += found + literal.Length)
        {
            delimiters.Add(new TextPiece(start + found, literal.Length));
        }
    }
}

/// <summary>The delimiters are the matches of a pattern.</summary>
internal sealed class PatternSplitter(ScalarPattern pattern, DelimiterBehavior behavior, bool invert = false) : DelimiterSplitter(behavior, invert)
{
    /// <inheritdoc/>
    protected override void Find(ReadOnlySpan<char> text, List<TextPiece> delimiters) => pattern.FindAll(text, delimiters);
}
