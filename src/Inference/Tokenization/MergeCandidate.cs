namespace KernelGen.Inference.Tokenization;

/// <summary>A pair of symbols that could be merged.</summary>
/// <param name="Position">The place of the left symbol.</param>
/// <param name="Left">The left symbol's id when the pair was found.</param>
/// <param name="Right">The right symbol's id when the pair was found.</param>
/// <param name="Merged">The id that takes their place.</param>
internal readonly record struct MergeCandidate(int Position, int Left, int Right, int Merged);
