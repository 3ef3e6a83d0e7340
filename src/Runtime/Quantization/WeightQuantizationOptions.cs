namespace KernelGen;

/// <summary>Where the weights of outlier columns come from.</summary>
public enum OutlierWeights
{
    /// <summary>The int8 weights times their scale, as bitsandbytes does: no memory beside the int8 weights.</summary>
    Dequantized,

    /// <summary>
    /// The original 16- or 32-bit weights, as in the paper. The source must stay readable; columns that were outliers once are kept
    /// contiguous in 16 bits (32 for a float32 source), up to an eighth of all columns or 64. A <see cref="QuantizedWeightSource"/> has no
    /// originals: it counts as <see cref="Dequantized"/>.
    /// </summary>
    Original,
}

/// <summary>How weights are quantized.</summary>
public sealed record WeightQuantizationOptions
{
    /// <summary>Where the weights of outlier columns come from. With <see cref="OutlierPolicy.Fixed"/> the originals are kept wherever the source has them.</summary>
    public OutlierWeights OutlierWeights { get; init; } = OutlierWeights.Dequantized;

    /// <summary>
    /// The calibrated outlier columns that <see cref="OutlierPolicy.Fixed"/> needs; ascending or not, each once. Null for those that a
    /// <see cref="QuantizedWeightSource"/> keeps the originals of.
    /// </summary>
    public IReadOnlyList<int>? FixedOutlierColumns { get; init; }

    /// <summary>The most threads to use, or -1 for all processors.</summary>
    public int MaxDegreeOfParallelism { get; init; } = -1;
}
