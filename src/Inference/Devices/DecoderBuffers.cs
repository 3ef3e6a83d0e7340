using KernelGen.Backends.Cuda;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>The activations of a pass on the device, for the most rows that a pass can have.</summary>
internal sealed class DecoderBuffers : IDisposable
{
    private readonly List<CudaBuffer> _buffers = [];

    public DecoderBuffers(DecoderPlan plan, DeviceMemoryPlan memory, CudaContext context)
    {
        DecoderDescription description = plan.Description;
        int rows = memory.Rows;
        try
        {
            Residual = Allocate(description.HiddenSize, ElementFormat.Float32);
            OtherResidual = Own(new CudaBuffer(context, SingleRowBytes(plan)), description.HiddenSize, ElementFormat.Float32);
            Normed = Allocate(description.HiddenSize);
            QueryKeyValue = Allocate(plan.QueryKeyValueWidth);
            Attended = Allocate(description.Heads * description.HeadSize);
            AttentionBranch = Allocate(description.HiddenSize);
            MlpBranch = Allocate(description.HiddenSize);
            Inner = Allocate(InnerWidth(plan));
            if (!memory.IsHome)
            {
                return;
            }

            Embedded = Allocate(description.TokenEmbedding.Size);
            Logits = Own(new CudaBuffer(context, (long)memory.LogitRows * description.VocabularySize * sizeof(float)), description.VocabularySize, ElementFormat.Float32);
        }
        catch
        {
            Dispose();
            throw;
        }

        CudaMatrix Allocate(int width, ElementFormat format = ElementFormat.Float16) =>
            Own(new CudaBuffer(context, (long)rows * width * (format == ElementFormat.Float32 ? 4 : 2)), width, format);
    }

    /// <summary>The residual stream, in float32: it sums dozens of branches, and its outlier features are far larger than the rest.</summary>
    public CudaMatrix Residual { get; }

    /// <summary>
    /// A single row of the residual stream, by turns with the first one: a product that adds to the stream leaves the sum in the other, since all its blocks
    /// read the one.
    /// </summary>
    public CudaMatrix OtherResidual { get; }

    /// <summary>The normalized input of a branch.</summary>
    public CudaMatrix Normed { get; }

    /// <summary>[queries | keys | values].</summary>
    public CudaMatrix QueryKeyValue { get; }

    /// <summary>The heads' results.</summary>
    public CudaMatrix Attended { get; }

    /// <summary>What attention adds to the residual stream.</summary>
    public CudaMatrix AttentionBranch { get; }

    /// <summary>What the MLP adds to the residual stream.</summary>
    public CudaMatrix MlpBranch { get; }

    /// <summary>Between the MLP's layers: [up] or [gate | up].</summary>
    public CudaMatrix Inner { get; }

    /// <summary>Rows as wide as the token embedding: before a projection in, after one out. At home only, as the logits.</summary>
    public CudaMatrix Embedded { get; }

    public CudaMatrix Logits { get; }

    /// <summary>Bytes of what has one row whatever the batch.</summary>
    public static long SingleRowBytes(DecoderPlan plan) => sizeof(float) * (long)plan.Description.HiddenSize;

    /// <summary>Bytes of a row of all other buffers but the logits.</summary>
    public static long BytesPerRow(DecoderPlan plan, bool isHome)
    {
        DecoderDescription description = plan.Description;
        return (sizeof(float) * (long)description.HiddenSize)
            + (sizeof(ushort) * ((3L * description.HiddenSize) + plan.QueryKeyValueWidth + (description.Heads * description.HeadSize)
                + InnerWidth(plan) + (isHome ? description.TokenEmbedding.Size : 0)));
    }

    /// <summary>Copies the first logits to the host, and waits for them.</summary>
    public void ReadLogits(Span<float> destination, CudaStream stream) => _buffers[^1].Download(destination, stream);

    public void Dispose()
    {
        foreach (CudaBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }
    }

    private static int InnerWidth(DecoderPlan plan) => plan.Layers.Max(static layer => layer.Up.OutputFeatures);

    private CudaMatrix Own(CudaBuffer buffer, int width, ElementFormat format)
    {
        _buffers.Add(buffer);
        return new CudaMatrix(buffer.Address, format, width);
    }
}
