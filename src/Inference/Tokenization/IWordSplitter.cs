namespace KernelGen.Inference.Tokenization;

/// <summary>Cuts text into the words that BPE merges within: the pattern of a pre-tokenizer.</summary>
internal interface IWordSplitter
{
    /// <summary>The length of the first word of a text that is not empty: at least 1, never past the end.</summary>
    int FirstWordLength(ReadOnlySpan<char> text);
}
