using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>Where a model's parameters come from on their way to a device: read in blocks, straight into the memory that the device copies from.</summary>
internal abstract unsafe class DecoderWeights : IDisposable
{
    /// <summary>The type of a layer's stored weights; null for int8 with an absmax per output feature.</summary>
    public abstract ElementFormat? FormatOf(LinearDescription layer);

    /// <summary>Reads output features of a layer as they are stored, [rows, K], whichever way round the checkpoint has them.</summary>
    public abstract void ReadRows(LinearDescription layer, int firstRow, int rows, byte* destination);

    /// <summary>The absmax of every output feature of an int8 layer.</summary>
    public abstract IReadOnlyList<float> AbsmaxOf(LinearDescription layer);

    /// <summary>A layer's bias, or null.</summary>
    public abstract float[]? BiasOf(LinearDescription layer);

    /// <summary>A norm's weight and bias, each null where it has none.</summary>
    public abstract (float[]? Weight, float[]? Bias) NormOf(NormDescription norm);

    /// <summary>Reads rows of a table in float16.</summary>
    /// <param name="table">The table.</param>
    /// <param name="isOutput">Whether it is the output embedding, which has a name without a prefix.</param>
    /// <param name="firstRow">The first row.</param>
    /// <param name="rows">How many.</param>
    /// <param name="destination">[rows, size].</param>
    public abstract void ReadTable(EmbeddingDescription table, bool isOutput, int firstRow, int rows, Half* destination);

    /// <summary>The error for a row of weights that is not finite.</summary>
    public abstract Exception NotFinite(LinearDescription layer, int row);

    /// <summary>Bytes of a stored weight.</summary>
    public int StoredBytes(LinearDescription layer) => FormatOf(layer) switch { null => 1, ElementFormat.Float32 => 4, _ => 2 };

    public abstract void Dispose();
}
