using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>Takes the residual stream from one device to another: straight where they reach each other, else by way of pinned host memory. Nothing waits.</summary>
internal sealed class ResidualHop : IDisposable
{
    private readonly CudaStage _from;
    private readonly CudaEvent _left;
    private readonly PinnedBuffer? _host;
    private readonly int _rowBytes;

    public ResidualHop(CudaStage from, CudaStage to, int hidden, bool staged)
    {
        (_from, To, _rowBytes) = (from, to, hidden * sizeof(float));
        _left = new CudaEvent(from.Context);
        try
        {
            IsDirect = !staged && to.Context.EnableAccessTo(from.Context);
            _host = IsDirect ? null : new PinnedBuffer(from.Context, (long)from.Memory.Rows * _rowBytes);
        }
        catch
        {
            _left.Dispose();
            throw;
        }
    }

    public CudaStage To { get; }

    public bool IsDirect { get; }

    /// <summary>Queues the copy of rows, behind what the first device has queued and ahead of what the second will.</summary>
    public void Move(int rows)
    {
        long bytes = (long)rows * _rowBytes;
        ulong source = _from.Decoder.Residual.Address, destination = To.Decoder.Residual.Address;
        _host?.CopyFrom(source, bytes, _from.Stream);
        _left.Record(_from.Stream);
        To.Stream.Wait(_left);
        if (_host is null)
        {
            To.Context.CopyFrom(_from.Context, source, destination, bytes, To.Stream);
        }
        else
        {
            _host.CopyTo(destination, bytes, To.Stream);
        }
    }

    public void Dispose()
    {
        _left.Dispose();
        _host?.Dispose();
    }
}
