namespace KernelGen.Inference.Tokenization;

/// <summary>Working memory of one call of the encoder.</summary>
internal sealed class EncodingScratch(int stages)
{
    private readonly List<TextPiece>[] _words = [.. Enumerable.Range(0, stages).Select(_ => new List<TextPiece>())];

    /// <summary>For merging.</summary>
    public MergeScratch Merging { get; } = new();

    /// <summary>The words that a stage makes, empty.</summary>
    public List<TextPiece> Words(int stage)
    {
        _words[stage].Clear();
        return _words[stage];
    }
}
