namespace KernelGen.Inference.Generation;

/// <summary>How a text is continued. The default is greedy: the most probable token, always.</summary>
public sealed record GenerationOptions
{
    /// <summary>Most tokens to generate, at least 0. Generation ends earlier where the model's context is full.</summary>
    public int MaxNewTokens { get; init; } = 128;

    /// <summary>Divides the logits before they become probabilities; 0 for greedy, at least 0.</summary>
    public float Temperature { get; init; }

    /// <summary>
    /// Draws from the most probable tokens whose probabilities reach this sum together, over 0 and at most 1; 1 draws from all.
    /// </summary>
    public float TopP { get; init; } = 1;

    /// <summary>Start of the random numbers: the same seed gives the same text.</summary>
    public int Seed { get; init; }

    /// <summary>Whether a token that the model's config names as a text's end stops the generation. It is the last one returned, as in transformers.</summary>
    public bool StopAtEndOfSequence { get; init; } = true;
}
