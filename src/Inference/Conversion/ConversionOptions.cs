using KernelGen.Inference.Quantization;

namespace KernelGen.Inference.Conversion;

/// <summary>How a checkpoint is converted to int8.</summary>
public sealed record ConversionOptions
{
    /// <summary>The size of a shard unless chosen: a killed run repeats one shard at most.</summary>
    public const long DefaultShardBytes = 2_000_000_000;

    /// <summary>The scheme that is taken unless another is chosen.</summary>
    public static QuantizationScheme DefaultScheme { get; } = QuantizationScheme.Parse("llm-int8");

    /// <summary>The scheme: it says what shares a scale among the weights. Null for LLM.int8().</summary>
    public QuantizationScheme? Scheme { get; init; }

    /// <summary>The outlier threshold that is recorded for readers; null for the scheme's own.</summary>
    public float? OutlierThreshold { get; init; }

    /// <summary>Calibrated outlier columns, whose original weights are stored beside the int8 ones; null for none.</summary>
    public FixedOutlierSet? FixedOutliers { get; init; }

    /// <summary>
    /// Modules to leave in floating point beside those that transformers leaves: a full name, the name of a module within (all layers of
    /// <c>model.decoder.layers.3</c>), or the last part of names (<c>fc2</c>).
    /// </summary>
    public IReadOnlyList<string> SkipModules { get; init; } = [];

    /// <summary>Most bytes of tensors in one file; a larger tensor gets a file of its own.</summary>
    public long ShardBytes { get; init; } = DefaultShardBytes;

    /// <summary>Bytes of buffers for reading and writing. A row is always read whole.</summary>
    public long MemoryBytes { get; init; } = 256 << 20;

    /// <summary>The most threads that quantize, or -1 for one per processor.</summary>
    public int MaxDegreeOfParallelism { get; init; } = -1;
}
