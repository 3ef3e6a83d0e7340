namespace KernelGen.Inference.Tokenization;

/// <summary>Makes one word of the whole text: a byte-level pre-tokenizer with <c>use_regex</c> off.</summary>
internal sealed class WholeTextSplitter : IWordSplitter
{
    /// <inheritdoc/>
    public void Split(ReadOnlySpan<char> text, List<TextPiece> words) => words.Add(new TextPiece(0, text.Length));
}
