using static KernelGen.Backends.Cuda.CudaDriver;

namespace KernelGen.Backends.Cuda;

/// <summary>
/// A device's primary context, shared with every other user of the device in the process, or one of its own. Any thread may use it: each entry
/// point makes it current first, so that several devices work side by side.
/// </summary>
internal sealed class CudaContext : IDisposable
{
    private readonly bool isOwn;

    private nint handle;

    /// <param name="device">The device.</param>
    /// <param name="isOwn">Whether to make a context beside the primary one: what several devices need can be tried on one then.</param>
    /// <exception cref="CudaException">The device cannot be used, e.g. because its memory is exhausted.</exception>
    public unsafe CudaContext(CudaDevice device, bool isOwn = false)
    {
        Device = device;
        this.isOwn = isOwn;
        if (isOwn)
        {
            Check(cuCtxCreate_v2(out handle, 0, device.Handle));
        }
        else
        {
            Check(cuDevicePrimaryCtxRetain(out handle, device.Handle));
        }

        try
        {
            // Freed workspace stays in the pool: the next layer takes it without asking the system.
            Check(cuDeviceGetDefaultMemPool(out nint pool, device.Handle));
            ulong keepAll = ulong.MaxValue;
            Check(cuMemPoolSetAttribute(pool, attribute: 4, &keepAll));
        }
        catch
        {
            Release();
            throw;
        }
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

    /// <summary>Lets this context's work read another one's memory.</summary>
    /// <returns>Whether it can: not where nothing connects the devices, or the system forbids it.</returns>
    public bool EnableAccessTo(CudaContext other)
    {
        Use();
        if (other.Device.Ordinal != Device.Ordinal)
        {
            Check(cuDeviceCanAccessPeer(out int able, Device.Handle, other.Device.Handle));
            if (able == 0)
            {
                return false;
            }

            const int AlreadyEnabled = 704;
            int code = cuCtxEnablePeerAccess(other.handle, 0);
            return code is 0 or AlreadyEnabled;
        }

        return true;
    }

    /// <summary>Queues a copy from another context's memory, which <see cref="EnableAccessTo"/> must have opened.</summary>
    public void CopyFrom(CudaContext source, ulong from, ulong to, long bytes, CudaStream stream)
    {
        Use();
        Check(cuMemcpyPeerAsync(to, handle, from, source.handle, (nuint)bytes, stream.Value));
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
        nint held = Interlocked.Exchange(ref handle, 0);
        if (held != 0)
        {
            _ = isOwn ? cuCtxDestroy_v2(held) : cuDevicePrimaryCtxRelease_v2(Device.Handle);
        }
    }
}
