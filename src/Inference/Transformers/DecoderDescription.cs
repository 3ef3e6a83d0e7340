namespace KernelGen.Inference.Transformers;

/// <summary>
/// What a decoder-only transformer is made of, with the names of its tensors: read from <c>config.json</c> by one family each (such as
/// <see cref="OptFamily"/>), built by <see cref="TransformerModel"/>. Names leave out the prefix that some checkpoints put before all
/// tensors of the decoder; <see cref="TensorPrefixes"/> lists the possible ones.
/// </summary>
public sealed record DecoderDescription
{
    /// <summary>More layers than any model has: a config that asks for more must not make us describe them all.</summary>
    internal const int MostLayers = 10_000;

    /// <summary>The <c>model_type</c>, such as <c>opt</c>.</summary>
    public required string Family { get; init; }

    /// <summary>What checkpoints of this family put before every tensor name of the decoder; the empty string for nothing.</summary>
    public required IReadOnlyList<string> TensorPrefixes { get; init; }

    /// <summary>Tokens in the vocabulary: rows of the token embedding, columns of the logits.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Most positions of a sequence.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Heads of queries per layer; each is <see cref="HeadSize"/> wide.</summary>
    public required int Heads { get; init; }

    /// <summary>
    /// Heads of keys and values per layer, a divisor of <see cref="Heads"/>: as many neighbouring heads of queries share each
    /// (grouped-query attention).
    /// </summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Width of a head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>The token embedding.</summary>
    public required EmbeddingDescription TokenEmbedding { get; init; }

    /// <summary>How the model knows a token's position.</summary>
    public required PositionDescription Positions { get; init; }

    /// <summary>The norm of the embedded tokens, or null.</summary>
    public NormDescription? EmbeddingNorm { get; init; }

    /// <summary>From the width of the token embedding to that of the residual stream, or null where they are the same.</summary>
    public LinearDescription? ProjectIn { get; init; }

    /// <summary>The layers, first to last.</summary>
    public required IReadOnlyList<DecoderLayerDescription> Layers { get; init; }

    /// <summary>The norm after the last layer, or null.</summary>
    public required NormDescription? FinalNorm { get; init; }

    /// <summary>From the width of the residual stream back to that of the token embedding, or null where they are the same.</summary>
    public LinearDescription? ProjectOut { get; init; }

    /// <summary>
    /// Name of the output embedding's weights, which no prefix precedes, or null where the token embedding is used (tied).
    /// </summary>
    public required string? OutputEmbedding { get; init; }

    /// <summary>Tokens that end a text; may be empty.</summary>
    public required IReadOnlyList<int> EndOfSequenceTokens { get; init; }

    /// <summary>Every linear layer but the output embedding, in the order of their use.</summary>
    public IEnumerable<LinearDescription> LinearLayers =>
    [
        .. (ReadOnlySpan<LinearDescription>)(ProjectIn is null ? [] : [ProjectIn]),
        .. Layers.SelectMany(static layer => layer.LinearLayers),
        .. (ReadOnlySpan<LinearDescription>)(ProjectOut is null ? [] : [ProjectOut]),
    ];
}

/// <summary>A table of embeddings.</summary>
/// <param name="Name">Name of the tensor [<paramref name="Rows"/>, <paramref name="Size"/>].</param>
/// <param name="Rows">Number of embeddings.</param>
/// <param name="Size">Width of each.</param>
public sealed record EmbeddingDescription(string Name, int Rows, int Size);

/// <summary>A linear layer: <c>y = x * weight^T + bias</c>.</summary>
/// <param name="Name">Its name; the tensors are <c>Name.weight</c> [out, in] and <c>Name.bias</c> [out].</param>
/// <param name="InputFeatures">K.</param>
/// <param name="OutputFeatures">N.</param>
/// <param name="HasBias">Whether there is a bias.</param>
/// <param name="IsTransposed">Whether the checkpoint stores the weight as [in, out], as transformers' <c>Conv1D</c> does.</param>
public sealed record LinearDescription(string Name, int InputFeatures, int OutputFeatures, bool HasBias, bool IsTransposed = false);

/// <summary>What a norm divides by.</summary>
public enum NormKind
{
    /// <summary>Layer norm: <c>(x - mean) / sqrt(variance + epsilon)</c>.</summary>
    Layer,

    /// <summary>Root-mean-square norm, which leaves the mean (arXiv 1910.07467): <c>x / sqrt(mean(x^2) + epsilon)</c>.</summary>
    RootMeanSquare,
}

/// <summary>A norm of rows, followed by <c>* weight + bias</c>.</summary>
/// <param name="Name">Its name; the tensors are <c>Name.weight</c> and <c>Name.bias</c>, both [size].</param>
/// <param name="Kind">What it divides by.</param>
/// <param name="Size">Width of a row.</param>
/// <param name="Epsilon">Added to the variance or mean square.</param>
/// <param name="IsAffine">Whether it has a weight; if not, it only normalizes.</param>
/// <param name="HasBias">Whether it has a bias.</param>
public sealed record NormDescription(string Name, NormKind Kind, int Size, float Epsilon, bool IsAffine, bool HasBias);
