using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Generation;

/// <summary>What a model can be asked for, the same wherever it runs.</summary>
internal static class GenerationArguments
{
    /// <summary>Refuses options and prompts that no model, or not this one, can take.</summary>
    /// <exception cref="ArgumentException">The prompt is empty, longer than the context, or has a token beyond the vocabulary.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    public static void Check(DecoderDescription description, IReadOnlyList<int> prompt, GenerationOptions options)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentOutOfRangeException.ThrowIfNegative(options.MaxNewTokens, nameof(options.MaxNewTokens));
        if (!float.IsFinite(options.Temperature) || options.Temperature < 0)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Temperature, "The temperature is a number from 0.");
        }

        if (!(options.TopP > 0 && options.TopP <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.TopP, "Top-p is over 0 and at most 1.");
        }

        if (prompt.Count == 0)
        {
            throw new ArgumentException("The prompt is empty: give at least one token.", nameof(prompt));
        }

        if (prompt.Count > description.ContextLength)
        {
            throw new ArgumentException(
                $"The prompt has {prompt.Count} tokens, the model's context only {description.ContextLength}: shorten the prompt.", nameof(prompt));
        }

        foreach (int token in prompt)
        {
            if (token < 0 || token >= description.VocabularySize)
            {
                throw new ArgumentException(
                    $"Token {token} of the prompt is outside of the vocabulary (0 to {description.VocabularySize - 1}).", nameof(prompt));
            }
        }
    }
}
