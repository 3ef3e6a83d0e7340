namespace KernelGen.Inference.Tokenization;

/// <summary>When a mark is put before text that doesn't begin with it.</summary>
internal enum PrefixRule
{
    /// <summary>Never.</summary>
    Never,

    /// <summary>At the start of the whole text only.</summary>
    First,

    /// <summary>Before each piece that there is at this stage.</summary>
    Always,
}

/// <summary>
/// The mark that stands for a space, and when it is put before a text: a space itself with <c>add_prefix_space</c>, or SentencePiece's
/// U+2581.
/// </summary>
internal sealed record TextPrefix(char Mark, PrefixRule Rule)
{
    /// <summary>The text with its spaces as marks and the mark before it where it belongs.</summary>
    public ReadOnlySpan<char> Apply(ReadOnlySpan<char> text, bool isStart)
    {
        bool isMissing = text[0] != Mark && text[0] != ' ' && (Rule == PrefixRule.Always || (Rule == PrefixRule.First && isStart));
        if (!isMissing && (Mark == ' ' || !text.Contains(' ')))
        {
            return text;
        }

        char[] result = new char[text.Length + (isMissing ? 1 : 0)];
        result[0] = Mark;
        text.Replace(result.AsSpan(isMissing ? 1 : 0), ' ', Mark);
        return result;
    }
}
