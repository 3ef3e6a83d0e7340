namespace KernelGen.Inference.Transformers;

/// <summary>How a layer's two branches, attention and MLP, are joined to the residual stream <c>x</c>.</summary>
public enum ResidualForm
{
    /// <summary>A norm before each branch: <c>x += f(norm(x))</c>, twice.</summary>
    PreNorm,

    /// <summary>As <see cref="PreNorm"/>, but what is added to is the normalized stream: <c>x = norm(x); x += f(x)</c>, twice.</summary>
    PreNormReplacing,

    /// <summary>A norm after each addition: <c>x = norm(x + f(x))</c>, twice.</summary>
    PostNorm,

    /// <summary>Both branches see the same stream: <c>x += attention(norm1(x)) + mlp(norm2(x))</c>.</summary>
    Parallel,
}

/// <summary>One layer: attention, then an MLP, each with a norm and a residual connection.</summary>
/// <param name="Residual">How the two are joined to the residual stream.</param>
/// <param name="AttentionNorm">The norm of the attention.</param>
/// <param name="Attention">The attention.</param>
/// <param name="MlpNorm">The norm of the MLP.</param>
/// <param name="Mlp">The MLP.</param>
public sealed record DecoderLayerDescription(
    ResidualForm Residual,
    NormDescription AttentionNorm,
    AttentionDescription Attention,
    NormDescription MlpNorm,
    MlpDescription Mlp)
{
    /// <summary>The layer's linear layers, in the order of their use.</summary>
    public IEnumerable<LinearDescription> LinearLayers =>
    [
        .. Attention.Projections.LinearLayers,
        Attention.Output,
        .. (ReadOnlySpan<LinearDescription>)(Mlp.Gate is null ? [] : [Mlp.Gate]),
        Mlp.Up,
        Mlp.Down,
    ];
}

/// <summary>Attention: <c>softmax(Q K^T * scale) V</c>, head by head.</summary>
/// <param name="Projections">What makes queries, keys and values.</param>
/// <param name="Output">The projection of the heads' results.</param>
/// <param name="Scale">What the products of queries and keys are multiplied by; mostly one over the square root of a head's width.</param>
/// <param name="Window">The last positions that a query attends to, its own among them; null for all.</param>
public sealed record AttentionDescription(QueryKeyValueDescription Projections, LinearDescription Output, float Scale, int? Window = null);

/// <summary>The projections to queries, keys and values: one of the records below.</summary>
public abstract record QueryKeyValueDescription
{
    /// <summary>The linear layers, one or three.</summary>
    public abstract IReadOnlyList<LinearDescription> LinearLayers { get; }
}

/// <summary>A layer each.</summary>
/// <param name="Query">To the queries, [heads * head size].</param>
/// <param name="Key">To the keys, [key-value heads * head size].</param>
/// <param name="Value">To the values, [key-value heads * head size].</param>
public sealed record SeparateProjections(LinearDescription Query, LinearDescription Key, LinearDescription Value) : QueryKeyValueDescription
{
    /// <inheritdoc/>
    public override IReadOnlyList<LinearDescription> LinearLayers => [Query, Key, Value];
}

/// <summary>One layer for all three, quantized as the one layer that it is; there are as many heads of keys and values as of queries.</summary>
/// <param name="Linear">The layer, to [3 * heads * head size].</param>
/// <param name="Order">How its outputs are ordered.</param>
public sealed record FusedProjection(LinearDescription Linear, FusedOrder Order) : QueryKeyValueDescription
{
    /// <inheritdoc/>
    public override IReadOnlyList<LinearDescription> LinearLayers => [Linear];
}

/// <summary>The order of a fused projection's outputs.</summary>
public enum FusedOrder
{
    /// <summary>All queries, all keys, all values: [3][heads][head size].</summary>
    Blocks,

    /// <summary>Query, key and value of the first head, then of the next: [heads][3][head size].</summary>
    PerHead,
}

/// <summary>An MLP: <c>down(activation(up(x)))</c>, or with a gate (arXiv 2002.05202) <c>down(activation(gate(x)) * up(x))</c>.</summary>
/// <param name="Gate">The gate, as wide as <paramref name="Up"/>, or null.</param>
/// <param name="Up">The first layer.</param>
/// <param name="Activation">What lies between the layers.</param>
/// <param name="Down">The last layer.</param>
public sealed record MlpDescription(LinearDescription? Gate, LinearDescription Up, ActivationFunction Activation, LinearDescription Down);
