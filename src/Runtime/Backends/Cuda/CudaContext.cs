using static KernelGen.Backends.Cuda.CudaDriver;

namespace KernelGen.Backends.Cuda;

/// <summary>
/// A device's primary context, shared with every other user of the device in the process. Any thread may use it: each entry point makes it
/// current first, so that several devices work side by side.
/// </summary>
internal sealed class CudaContext : IDisposable
{
    private nint handle;

    /// <exception cref="CudaException">The device cannot be used, e.g. because its memory is exhausted.</exception>
    public unsafe CudaContext(CudaDevice device)
    {
        Device = device;
        Check(cuDevicePrimaryCtxRetain(out handle, device.Handle));

        // Freed workspace stays in the pool: the next layer takes it without asking the system.
        Check(cuDeviceGetDefaultMemPool(out nint pool, device.Handle));
        ulong keepAll = ulong.MaxValue;
        Check(cuMemPoolSetAttribute(pool, attribute: 4, &keepAll));
    }

    ~CudaContext() => Release();

    public CudaDevice Device { get; }

    /// <summary>Makes the context current on this thread.</summary>
    public void Use()
    {
        ObjectDisposedException.ThrowIf(handle == 0, this);
        Check(cuCtxSetCurrent(handle));
    }

    /// <summary>Waits for all work on the device; errors of earlier launches surface here.</summary>
    public void Synchronize()
    {
        Use();
        Check(cuCtxSynchronize());
    }

    /// <summary>Free and total bytes of device memory.</summary>
    public (long Free, long Total) Memory()
    {
        Use();
        Check(cuMemGetInfo_v2(out nuint free, out nuint total));
        return ((long)free, (long)total);
    }

    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>For handles that are released late, when the context may be gone: whether it could be made current.</summary>
    internal bool TryUse() => handle != 0 && cuCtxSetCurrent(handle) == 0;

    private void Release()
    {
        if (Interlocked.Exchange(ref handle, 0) != 0)
        {
            _ = cuDevicePrimaryCtxRelease_v2(Device.Handle);
        }
    }
}
