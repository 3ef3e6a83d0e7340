using System.Collections.Concurrent;

namespace KernelGen.Backends.Cuda;

/// <summary>As many lanes as multiplications may run at once; who finds none free waits for one.</summary>
internal sealed class CudaLanes(CudaContext context, int count) : IDisposable
{
    private readonly ConcurrentBag<CudaLane> _free = [];
    private readonly SemaphoreSlim _permits = new(count);
    private int _disposed;

    /// <exception cref="ObjectDisposedException">The lanes are disposed, before or while this waited.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public async ValueTask<CudaLane> TakeAsync(CancellationToken cancellation)
    {
        ThrowIfDisposed();
        await _permits.WaitAsync(cancellation).ConfigureAwait(false);
        return Open();
    }

    /// <inheritdoc cref="TakeAsync"/>
    public CudaLane Take(CancellationToken cancellation)
    {
        ThrowIfDisposed();
        _permits.Wait(cancellation);
        return Open();
    }

    public void Return(CudaLane lane)
    {
        _free.Add(lane);
        _permits.Release();
    }

    /// <summary>Waits for the lanes that are taken, and ends all.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        for (int i = 0; i < count; i++)
        {
            _permits.Wait();
        }

        foreach (CudaLane lane in _free)
        {
            lane.Dispose();
        }

        // Those that still wait learn that there is nothing to wait for.
        _permits.Release(count);
    }

    private CudaLane Open()
    {
        try
        {
            ThrowIfDisposed();
            return _free.TryTake(out CudaLane? lane) ? lane : new CudaLane(context);
        }
        catch
        {
            _permits.Release();
            throw;
        }
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, typeof(CudaMatMul));
}
