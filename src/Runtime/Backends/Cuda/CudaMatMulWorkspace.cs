namespace KernelGen.Backends.Cuda;

/// <summary>
/// The device memory that multiplications on one stream share, one after the other: quantized activations, their statistics, the outlier mask
/// and the sums of split tiles. It grows to the largest multiplication; growing is not possible while a graph is being captured.
/// </summary>
internal sealed class CudaMatMulWorkspace(CudaContext context, CudaStream stream) : IDisposable
{
    /// <summary>Statistics are padded to whole tiles of any kernel, so that kernels read them without a bound.</summary>
    private const int RowPadding = 256;

    /// <summary>Bytes of a row's listed outliers, and the most rows whose kernels look for them in A themselves: those that stream the weights.</summary>
    private const int RowListBytes = 64, MostUnlistedRows = RegisterRows.MostClusterRows;

    private CudaBuffer? quantized;
    private CudaBuffer? statistics;
    private CudaBuffer? rowOutliers;
    private CudaBuffer? mask;
    private CudaBuffer? partials;
    private CudaBuffer? tickets;
    private long paddedRows;

    public CudaStream Stream => stream;

    public ulong Quantized => quantized!.Address;

    public ulong RowSteps => statistics!.Address;

    public ulong RowZeros => statistics!.Address + (ulong)(paddedRows * 4);

    /// <summary>Two words: the ends of the range that all rows share.</summary>
    public ulong TensorRange => statistics!.Address + (ulong)(paddedRows * 8);

    /// <summary>Rows of the lists of outliers.</summary>
    public uint RowOutlierPitch => (uint)paddedRows;

    public ulong OutlierTicket => mask!.Address;

    public ulong OutlierMask => mask!.Address + 16;

    public ulong Partials => partials?.Address ?? 0;

    public ulong PartialTickets => tickets?.Address ?? 0;

    /// <summary>Where so many rows list their outliers for the multiplication; 0 where it does not read lists.</summary>
    public ulong RowOutliers(int rows) => rows > MostUnlistedRows ? rowOutliers!.Address : 0;

    /// <summary>Bytes that <see cref="Reserve"/> takes.</summary>
    public static long BytesFor(long rows, long kPadded, long partialBytes, long ticketCount)
    {
        long needed = (rows + RowPadding - 1) / RowPadding * RowPadding;
        return (needed * kPadded) + (needed * (8 + RowListBytes)) + 16 + 16 + (kPadded / 8) + partialBytes + (ticketCount * 4);
    }

    /// <summary>Makes room; all counters and masks are zero the first time, and the kernels leave them so.</summary>
    public void Reserve(long rows, long kPadded, long partialBytes, long ticketCount)
    {
        long needed = (rows + RowPadding - 1) / RowPadding * RowPadding;
        Grow(ref quantized, needed * kPadded, "quantized activations", clear: false);
        if (statistics is null || needed > paddedRows)
        {
            Grow(ref statistics, (needed * 8) + 16, "row statistics", clear: true);
            Grow(ref rowOutliers, needed * RowListBytes, "listed outliers", clear: false);
            paddedRows = needed;
        }

        Grow(ref mask, 16 + (kPadded / 8), "outlier mask", clear: true);
        if (partialBytes > 0)
        {
            Grow(ref partials, partialBytes, "partial sums", clear: true);
            Grow(ref tickets, ticketCount * 4, "tickets of partial sums", clear: true);
        }
    }

    /// <summary>Restores what the kernels expect, after a launch that failed half way.</summary>
    public void Reset()
    {
        mask?.Fill(0, stream);
        partials?.Fill(0, stream);
        tickets?.Fill(0, stream);
    }

    public void Dispose()
    {
        quantized?.Dispose();
        statistics?.Dispose();
        rowOutliers?.Dispose();
        mask?.Dispose();
        partials?.Dispose();
        tickets?.Dispose();
    }

    private void Grow(ref CudaBuffer? buffer, long bytes, string what, bool clear)
    {
        if (buffer is not null && buffer.Bytes >= bytes)
        {
            return;
        }

        if (stream.IsCapturing)
        {
            throw new InvalidOperationException(
                $"The workspace's {what} would have to grow to {bytes} bytes while a graph is captured; run the multiplication once before capturing it.");
        }

        CudaBuffer grown = new(context, bytes, stream);
        if (clear)
        {
            grown.Fill(0, stream);
        }

        buffer?.Dispose();
        buffer = grown;
    }
}
