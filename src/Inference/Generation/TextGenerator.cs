using KernelGen.Inference.Observability;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Generation;

/// <summary>Continues a text, token by token.</summary>
/// <remarks>Thread-safe: any number of threads may generate at once; every text has a cache of its own.</remarks>
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
        options ??= new GenerationOptions();
        GenerationArguments.Check(_model.Description, prompt, options);
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
            long start = TokenInstruments.StartToken();
            float[] hidden = _model.Forward(next, cache, null, cancellation);
            _model.ComputeLogits(hidden.AsSpan(hidden.Length - width), 1, logits);
            int token = sampler.Choose(logits);
            TokenInstruments.StopToken(start, isFirst: i == 0);
            yield return token;
            if (options.StopAtEndOfSequence && _model.Description.EndOfSequenceTokens.Contains(token))
            {
                yield break;
            }

            next = [token];
        }
    }
}
