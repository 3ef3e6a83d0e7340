namespace KernelGen.Inference.Benchmarks;

/// <summary>What <see cref="CpuBenchmark"/> times.</summary>
internal sealed record CpuBenchmarkOptions
{
    /// <summary>The operations, in the order of the lines.</summary>
    public IReadOnlyList<CpuBenchmarkOperation> Operations { get; init; } = [CpuBenchmarkOperation.LlmInt8];

    /// <summary>The sizes.</summary>
    public IReadOnlyList<BenchmarkShape> Shapes { get; init; } = [];

    /// <summary>Numbers of threads, each for every shape.</summary>
    public IReadOnlyList<int> Threads { get; init; } = [1];

    /// <summary>How many columns of the activations are outliers.</summary>
    public int OutlierColumns { get; init; } = 6;

    /// <summary>Which activations leave the int8 part.</summary>
    public OutlierPolicy Policy { get; init; } = OutlierPolicy.Columns;

    /// <summary>The instruction set to use; null for the one this processor prefers.</summary>
    public CpuInstructionSet? InstructionSet { get; init; }

    /// <summary>The least time to spend on the samples of a line.</summary>
    public double Seconds { get; init; } = 0.3;

    /// <summary>The fewest samples of a line.</summary>
    public int Samples { get; init; } = 9;

    /// <summary>Weight bytes that a cold pass walks through.</summary>
    public long ColdBytes { get; init; } = 128 << 20;
}

/// <summary>What can be timed.</summary>
internal enum CpuBenchmarkOperation
{
    /// <summary>The int8 product alone, int32 results.</summary>
    Int8Gemm,

    /// <summary>A whole LLM.int8() layer, float32 in and out.</summary>
    LlmInt8,

    /// <summary>The same layer in float32.</summary>
    Float32,
}
