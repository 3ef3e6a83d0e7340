namespace KernelGen.Inference.Conversion;

/// <summary>What a conversion did.</summary>
public sealed record ConversionResult
{
    /// <summary>The folder of the int8 checkpoint.</summary>
    public required string Folder { get; init; }

    /// <summary>Linear layers that are int8 now.</summary>
    public required int QuantizedLayers { get; init; }

    /// <summary>Linear layers that were left in floating point.</summary>
    public required int SkippedLayers { get; init; }

    /// <summary>Bytes of the source's tensors.</summary>
    public required long SourceBytes { get; init; }

    /// <summary>Bytes of the result's tensors.</summary>
    public required long OutputBytes { get; init; }

    /// <summary>Bytes of the converted layers' weights in the source.</summary>
    public required long LinearSourceBytes { get; init; }

    /// <summary>Bytes that stand for them in the result: int8 weights, statistics, and outlier columns.</summary>
    public required long LinearOutputBytes { get; init; }

    /// <summary>Files that the tensors are in.</summary>
    public required int Shards { get; init; }

    /// <summary>Of these, files that an earlier run had finished and this one verified.</summary>
    public required int ResumedShards { get; init; }

    /// <summary>How long this run took.</summary>
    public required TimeSpan Elapsed { get; init; }
}
