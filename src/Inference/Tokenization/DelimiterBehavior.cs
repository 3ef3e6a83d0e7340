namespace KernelGen.Inference.Tokenization;

/// <summary>What becomes of the delimiters that a text is cut at.</summary>
internal enum DelimiterBehavior
{
    /// <summary>They are left out.</summary>
    Removed,

    /// <summary>Each is a word of its own.</summary>
    Isolated,

    /// <summary>Each ends the word before it.</summary>
    MergedWithPrevious,

    /// <summary>Each begins the word after it.</summary>
    MergedWithNext,

    /// <summary>Neighbouring ones are a word together.</summary>
    Contiguous,
}
