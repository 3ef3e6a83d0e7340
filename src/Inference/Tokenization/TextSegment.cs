namespace KernelGen.Inference.Tokenization;

/// <summary>A piece of a text: an added token, or text between such.</summary>
/// <param name="Start">Where it begins, in UTF-16 units.</param>
/// <param name="Length">Its length in UTF-16 units; 0 only for a token whose text the token before it took along.</param>
/// <param name="TokenId">The added token's id, or <see cref="NoToken"/>.</param>
internal readonly record struct TextSegment(int Start, int Length, int TokenId)
{
    /// <summary>The id of text that is no added token.</summary>
    public const int NoToken = -1;
}
