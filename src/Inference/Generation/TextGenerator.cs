using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Generation;

/// <summary>Continues a text, token by token.</summary>
public sealed class TextGenerator
{
    private readonly TransformerModel _model;

    /// <summary>Makes a generator.</summary>
    /// <param name="model">The model.</param>
    public TextGenerator(TransformerModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
    }

    /// <summary>Generates all tokens.</summary>
    /// <inheritdoc cref="Stream(IReadOnlyList{int}, GenerationOptions?, CancellationToken)"/>
    /// <returns>The new tokens, without the prompt.</returns>
    public int[] Generate(IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellation = default) =>
        [.. Stream(prompt, options, cancellation)];

    /// <summary>Generates tokens as they are asked for. Arguments are checked at once, work begins with the first token.</summary>
    /// <param name="prompt">The text's tokens so far, at least one.</param>
    /// <param name="options">How to choose and when to stop; null for the defaults.</param>
    /// <param name="cancellation">Ends the generation between two layers.</param>
    /// <returns>The new tokens, without the prompt; each enumeration begins anew.</returns>
    /// <exception cref="ArgumentException">The prompt is empty, longer than the model's context, or has a token beyond the vocabulary.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="InvalidOperationException">The model's logits are not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public IEnumerable<int> Stream(IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        options ??= new GenerationOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.MaxNewTokens, nameof(options.MaxNewTokens));
        if (!float.IsFinite(options.Temperature) || options.Temperature < 0)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Temperature, "The temperature is a number from 0.");
        }

        if (!(options.TopP > 0 && options.TopP <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.TopP, "Top-p is over 0 and at most 1.");
        }

        int context = _model.Description.ContextLength;
        if (prompt.Count == 0)
        {
            throw new ArgumentException("The prompt is empty: give at least one token.", nameof(prompt));
        }

        if (prompt.Count > context)
        {
            throw new ArgumentException($"The prompt has {prompt.Count} tokens, the model's context only {context}: shorten the prompt.", nameof(prompt));
        }

        foreach (int token in prompt)
        {
            if (token < 0 || token >= _model.Description.VocabularySize)
            {
                throw new ArgumentException(
                    $"Token {token} of the prompt is outside of the vocabulary (0 to {_model.Description.VocabularySize - 1}).", nameof(prompt));
            }
        }

        return Run([.. prompt], options, cancellation);
    }

    private IEnumerable<int> Run(int[] prompt, GenerationOptions options, CancellationToken cancellation)
    {
        if (options.MaxNewTokens == 0)
        {
            yield break;
        }

        // The last token generated is not fed back, so the text may exceed the context by that one.
        int context = _model.Description.ContextLength;
        int newTokens = Math.Min(options.MaxNewTokens, context - prompt.Length + 1);
        KeyValueCache[] cache = [_model.CreateCache(prompt.Length + newTokens - 1)];
        TokenSampler sampler = new(options);
        int width = _model.Description.TokenEmbedding.Size;
        float[] logits = new float[_model.Description.VocabularySize];
        int[] next = prompt;
        for (int i = 0; i < newTokens; i++)
        {
            float[] hidden = _model.Forward(next, cache, null, cancellation);
            _model.ComputeLogits(hidden.AsSpan(hidden.Length - width), 1, logits);
            int token = sampler.Choose(logits);
            yield return token;
            if (options.StopAtEndOfSequence && _model.Description.EndOfSequenceTokens.Contains(token))
            {
                yield break;
            }

            next = [token];
        }
    }
}
