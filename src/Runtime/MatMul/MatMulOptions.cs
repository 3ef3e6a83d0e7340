namespace KernelGen;

/// <summary>What may differ from one multiplication to the next.</summary>
public sealed record MatMulOptions
{
    /// <summary>Contiguous rows, no activation function, all processors, the spec's threshold.</summary>
    public static MatMulOptions Default { get; } = new();

    /// <summary>The function applied to the results before they are rounded.</summary>
    public Activation Activation { get; init; } = Activation.None;

    /// <summary>The outlier threshold, positive and finite; null means the spec's. Refused by a set whose policy has no threshold.</summary>
    public float? OutlierThreshold { get; init; }

    /// <summary>The most threads to use, or -1 for all processors. The result's bits do not depend on it.</summary>
    public int MaxDegreeOfParallelism { get; init; } = -1;

    /// <summary>Elements from one row of A to the next; null means K, contiguous rows.</summary>
    public int? InputRowStride { get; init; }

    /// <summary>Elements from one row of the result to the next; null means N, contiguous rows.</summary>
    public int? OutputRowStride { get; init; }
}
