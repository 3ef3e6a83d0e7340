namespace KernelGen.Inference.Tokenization;

/// <summary>A token that is found in the text as it stands, before the model sees the text.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">The text that it stands for; not empty.</param>
/// <param name="SingleWord">It is not found within a word.</param>
/// <param name="StripLeft">It takes the white space before it along.</param>
/// <param name="StripRight">It takes the white space after it along.</param>
/// <param name="Normalized">It is looked for after normalization, in what the tokens that are not normalized left.</param>
/// <param name="Special">It marks structure, such as the end of the text, and is left out of decoded text.</param>
internal sealed record AddedToken(
    int Id, string Content, bool SingleWord, bool StripLeft, bool StripRight, bool Normalized, bool Special)
{
    /// <summary>Longer contents are refused: they bound the time of the search at each position of a text.</summary>
    public const int MaxLength = 1024;
}
