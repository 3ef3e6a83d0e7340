namespace KernelGen.Inference.Transformers;

/// <summary>What attention needs to know of a layer beside its operands.</summary>
/// <param name="Heads">Heads of queries.</param>
/// <param name="KeyValueHeads">Heads of keys and values; each serves <c>Heads / KeyValueHeads</c> neighbouring heads of queries.</param>
/// <param name="HeadSize">Width of a head.</param>
/// <param name="Scale">Factor of the scores.</param>
/// <param name="Window">The last positions that a query attends to, its own among them; null for all.</param>
/// <param name="Slopes">What a score falls by per position between key and query, [heads]; null for nothing.</param>
internal sealed record AttentionShape(int Heads, int KeyValueHeads, int HeadSize, float Scale, int? Window, float[]? Slopes);
