namespace KernelGen.Inference.Tokenization;

/// <summary>Makes one word of the whole text: a byte-level pre-tokenizer with <c>use_regex</c> off.</summary>
internal sealed class WholeTextSplitter : IWordSplitter
{
    /// <inheritdoc/>
    public int FirstWordLength(ReadOnlySpan<char> text) => text.Length;
}
