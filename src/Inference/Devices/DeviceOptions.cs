namespace KernelGen.Inference.Devices;

/// <summary>How much a model on a device can do at once; its memory is laid out for that when it is loaded.</summary>
public sealed record DeviceOptions
{
    /// <summary>Most texts that are generated together, at least 1; more wait.</summary>
    public int MaxBatch { get; init; } = 32;

    /// <summary>Most tokens of a text, its prompt included; null for the model's context length.</summary>
    public int? MaxContext { get; init; }

    /// <summary>
    /// Tokens that the key-value cache holds for all texts together; null for <see cref="MaxBatch"/> texts of <see cref="MaxContext"/> tokens, or as
    /// many as the device's memory leaves room for, but at least one such text.
    /// </summary>
    public long? CacheTokens { get; init; }

    /// <summary>How keys and values are held on a GPU.</summary>
    public CacheFormat Cache { get; init; }

    /// <summary>Tokens of a prompt that go through the model at once, at least 1. More are faster, and need more memory.</summary>
    public int PrefillChunk { get; init; } = 2048;

    /// <summary>The outlier threshold, positive; null for the scheme's own.</summary>
    public float? OutlierThreshold { get; init; }

    /// <summary>
    /// Whether the processor computes the layers that fit no GPU, with its own kernels; their weights stay in host memory. Where everything fits, nothing changes.
    /// </summary>
    public bool OffloadsToProcessor { get; init; }

    /// <summary>Most threads for the processor's layers; -1 for one per processor.</summary>
    public int MaxDegreeOfParallelism { get; init; } = -1;

    /// <summary>For tests: whether GPUs exchange activations by way of the host though they could reach each other.</summary>
    internal bool StagesCopies { get; init; }

    /// <summary>For tests: bytes of host memory that are said to be free.</summary>
    internal long? HostFreeBytes { get; init; }

    /// <summary>Rows that a pass has to take beyond that: an evaluation runs whole windows side by side.</summary>
    internal int RowsAtOnce { get; init; }
}
