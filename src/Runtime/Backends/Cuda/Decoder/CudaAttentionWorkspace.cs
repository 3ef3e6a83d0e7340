namespace KernelGen.Backends.Cuda;

/// <summary>Device memory of the decode attention on one stream: partial results of split contexts and the tickets that count them.</summary>
internal sealed class CudaAttentionWorkspace(CudaContext context, CudaStream stream) : IDisposable
{
    private CudaBuffer? partials;

    private CudaBuffer? tickets;

    /// <summary>f32 [rows][heads][<see cref="DecoderRow.MaxSplits"/>][head size + 2].</summary>
    public ulong Partials => partials!.Address;

    /// <summary>u32 [rows][heads], zero between launches.</summary>
    public ulong Tickets => tickets!.Address;

    /// <summary>Bytes that a batch needs.</summary>
    public static long Bytes(int rows, int heads, int headSize) => (long)rows * heads * ((DecoderRow.MaxSplits * (headSize + 2)) + 1) * sizeof(float);

    /// <summary>Makes room for a batch; not while a graph is captured.</summary>
    /// <exception cref="InvalidOperationException">It would have to grow while a graph is captured.</exception>
    public void Reserve(int rows, int heads, int headSize)
    {
        long count = (long)rows * heads, needed = count * DecoderRow.MaxSplits * (headSize + 2) * sizeof(float);
        if (partials is not null && partials.Bytes >= needed && tickets!.Bytes >= count * sizeof(uint))
        {
            return;
        }

        if (stream.IsCapturing)
        {
            throw new InvalidOperationException(
                $"The attention workspace would have to grow to {needed} bytes while a graph is captured; reserve {rows} rows before capturing.");
        }

        CudaBuffer grown = new(context, needed, stream);
        partials?.Dispose();
        partials = grown;
        CudaBuffer counters = new(context, count * sizeof(uint), stream);
        counters.Fill(0, stream);
        tickets?.Dispose();
        tickets = counters;
    }

    public void Dispose()
    {
        partials?.Dispose();
        tickets?.Dispose();
    }
}
