using KernelGen.Backends.Cpu;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// A table of embeddings, in the stored type and in the GEMM's layout, so that a token embedding that is also the output embedding is in
/// memory once.
/// </summary>
internal sealed class EmbeddingTable(PackedFloatWeights rows) : IDisposable
{
    /// <summary>Number of embeddings.</summary>
    public int Count => rows.OutputFeatures;

    /// <summary>Width of an embedding.</summary>
    public int Size => rows.InputFeatures;

    public long Bytes => rows.Bytes;

    /// <summary>Copies an embedding as float32.</summary>
    public void CopyTo(int row, Span<float> destination) => rows.UnpackRow(row, destination);

    public void Dispose() => rows.Dispose();

    /// <summary>The table as the weights of a linear layer: <c>logits = hidden * table^T</c>.</summary>
    public FloatLinear AsLinear(int maxDegreeOfParallelism) => new(rows, bias: null, maxDegreeOfParallelism);
}
