namespace KernelGen.Inference.Tokenization;

/// <summary>A word within a text, in UTF-16 units.</summary>
internal readonly record struct TextPiece(int Start, int Length);
