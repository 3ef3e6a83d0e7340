namespace KernelGen.Inference.Outliers;

/// <summary>Where in a decoder layer the input of a linear layer comes from.</summary>
public enum LinearInputKind
{
    /// <summary>The hidden state before attention: what the projections to queries, keys and values multiply.</summary>
    Attention,

    /// <summary>The heads' results: what the output projection multiplies.</summary>
    AttentionOutput,

    /// <summary>The hidden state before the MLP: what its first layer, and the gate, multiply.</summary>
    Mlp,

    /// <summary>What the MLP's last layer multiplies.</summary>
    MlpInner,
}

/// <summary>
/// What a column number means: in all layers, column <c>k</c> of inputs of one space is the same feature. Hidden states are the paper's
/// (arXiv 2208.07339, section 4); the other two have columns of their own.
/// </summary>
public enum FeatureSpace
{
    /// <summary>The hidden state, before attention and before the MLP.</summary>
    HiddenState,

    /// <summary>The heads' results.</summary>
    AttentionOutput,

    /// <summary>Between the MLP's layers.</summary>
    MlpInner,
}

/// <summary>A matrix that one or more linear layers of the decoder multiply: one activation, seen once however many layers read it.</summary>
/// <param name="Layer">The decoder layer, from 0.</param>
/// <param name="Kind">Where it comes from.</param>
/// <param name="LinearLayers">The full names of the linear layers that read it.</param>
/// <param name="Width">K, its number of columns.</param>
public sealed record LinearInput(int Layer, LinearInputKind Kind, IReadOnlyList<string> LinearLayers, int Width)
{
    /// <summary>The space that its columns belong to.</summary>
    public FeatureSpace Space => Kind switch
    {
        LinearInputKind.AttentionOutput => FeatureSpace.AttentionOutput,
        LinearInputKind.MlpInner => FeatureSpace.MlpInner,
        _ => FeatureSpace.HiddenState,
    };
}
