namespace KernelGen.Inference.Tokenization;

/// <summary>One step of the way from text to words; each step takes the words of the one before.</summary>
/// <param name="Splitter">How a text is cut.</param>
/// <param name="Prefix">What is put before it first, or null.</param>
internal sealed record PreTokenizerStage(IWordSplitter Splitter, TextPrefix? Prefix = null);
