namespace KernelGen.Inference.Tokenization;

/// <summary>What a token adds to a text.</summary>
/// <param name="Bytes">Its UTF-8 bytes, which may be a part of a character only.</param>
/// <param name="IsFallback">Whether it is one byte of a character that has no token: see <see cref="TokenDecoder.ByteFallback"/>.</param>
internal readonly record struct DecodedPiece(byte[] Bytes, bool IsFallback);
