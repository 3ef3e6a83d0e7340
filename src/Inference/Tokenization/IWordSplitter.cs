namespace KernelGen.Inference.Tokenization;

/// <summary>Cuts text into the words that BPE merges within: the pattern of a pre-tokenizer.</summary>
internal interface IWordSplitter
{
    /// <summary>Appends the words of a text that is not empty: in order, none empty, not overlapping. What lies in none of them is left out.</summary>
    void Split(ReadOnlySpan<char> text, List<TextPiece> words);
}
