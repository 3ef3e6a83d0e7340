using System.Runtime.InteropServices;
using static KernelGen.Backends.Cuda.CudaDriver;

namespace KernelGen.Backends.Cuda;

/// <summary>A resource of a context that is freed once, explicitly or by the finalizer, on whatever thread.</summary>
internal abstract class CudaHandle : SafeHandle
{
    protected CudaHandle(CudaContext context)
        : base(0, ownsHandle: true)
    {
        Context = context;
    }

    public CudaContext Context { get; }

    public override bool IsInvalid => handle == 0;

    /// <summary>The driver's handle.</summary>
    public nint Value
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return handle;
        }
    }

    protected abstract int Free(nint value);

    // After a lost device or at process end the driver refuses; there is nothing left to free then.
    protected override bool ReleaseHandle() => !Context.TryUse() || Free(handle) == 0;
}

/// <summary>Device memory.</summary>
internal sealed unsafe class CudaBuffer : CudaHandle
{
    private readonly CudaStream? pool;

    /// <param name="context">Whose memory.</param>
    /// <param name="bytes">At least 1.</param>
    /// <param name="stream">Takes the memory from the asynchronous pool, ordered with the stream's work; null for a plain allocation.</param>
    /// <exception cref="CudaException">Out of device memory; the message says how much was asked for and how much is free.</exception>
    public CudaBuffer(CudaContext context, long bytes, CudaStream? stream = null)
        : base(context)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        context.Use();
        Bytes = bytes;
        pool = stream;
        int code = stream is null ? cuMemAlloc_v2(out ulong address, (nuint)bytes) : cuMemAllocAsync(out address, (nuint)bytes, stream.Value);
        if (code != 0)
        {
            string free = cuMemGetInfo_v2(out nuint available, out _) == 0 ? $", {available} are free" : "";
            throw new CudaException(stream is null ? "cuMemAlloc" : "cuMemAllocAsync", code, Describe(code), $"{bytes} bytes were asked for on {context.Device.Name}{free}.");
        }

        handle = (nint)address;
    }

    public long Bytes { get; }

    /// <summary>The device address.</summary>
    public ulong Address => (ulong)Value;

    /// <summary>Copies to the device, ordered with the stream's work. The source may be reused on return.</summary>
    public void Upload<T>(ReadOnlySpan<T> source, CudaStream stream, long byteOffset = 0)
        where T : unmanaged
    {
        CheckRange(byteOffset, (long)source.Length * sizeof(T));
        Context.Use();
        fixed (T* pointer = source)
        {
            Check(cuMemcpyHtoDAsync_v2(Address + (ulong)byteOffset, pointer, (nuint)source.Length * (nuint)sizeof(T), stream.Value));
        }
    }

    /// <summary>Copies to the host and waits for it.</summary>
    public void Download<T>(Span<T> destination, CudaStream stream, long byteOffset = 0)
        where T : unmanaged
    {
        CheckRange(byteOffset, (long)destination.Length * sizeof(T));
        Context.Use();
        fixed (T* pointer = destination)
        {
            Check(cuMemcpyDtoHAsync_v2(pointer, Address + (ulong)byteOffset, (nuint)destination.Length * (nuint)sizeof(T), stream.Value));
            stream.Synchronize();
        }
    }

    public void CopyFrom(CudaBuffer source, long bytes, CudaStream stream, long sourceOffset = 0, long byteOffset = 0)
    {
        CheckRange(byteOffset, bytes);
        source.CheckRange(sourceOffset, bytes);
        Context.Use();
        Check(cuMemcpyDtoDAsync_v2(Address + (ulong)byteOffset, source.Address + (ulong)sourceOffset, (nuint)bytes, stream.Value));
    }

    public void Fill(byte value, CudaStream stream)
    {
        Context.Use();
        Check(cuMemsetD8Async(Address, value, (nuint)Bytes, stream.Value));
    }

    protected override int Free(nint value) =>
        pool is { IsClosed: false } ? cuMemFreeAsync((ulong)value, pool.Value) : cuMemFree_v2((ulong)value);

    private void CheckRange(long offset, long bytes)
    {
        if (offset < 0 || bytes < 0 || offset > Bytes - bytes)
        {
            throw new ArgumentException($"{bytes} bytes from offset {offset} do not lie in a device buffer of {Bytes} bytes.");
        }
    }
}

/// <summary>Host memory that every device copies from and to at full speed and without waiting.</summary>
internal sealed unsafe class PinnedBuffer : CudaHandle
{
    public PinnedBuffer(CudaContext context, long bytes)
        : base(context)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        context.Use();
        Check(cuMemHostAlloc(out nint address, (nuint)bytes, flags: 1));
        Bytes = bytes;
        handle = address;
    }

    public long Bytes { get; }

    public Span<T> Span<T>()
        where T : unmanaged => new((void*)Value, checked((int)(Bytes / sizeof(T))));

    /// <summary>Queues a copy of device memory to the beginning of this.</summary>
    public void CopyFrom(ulong source, long bytes, CudaStream stream)
    {
        CheckRange(bytes);
        stream.Context.Use();
        Check(cuMemcpyDtoHAsync_v2((void*)Value, source, (nuint)bytes, stream.Value));
    }

    /// <summary>Queues a copy of the beginning of this to device memory.</summary>
    public void CopyTo(ulong destination, long bytes, CudaStream stream)
    {
        CheckRange(bytes);
        stream.Context.Use();
        Check(cuMemcpyHtoDAsync_v2(destination, (void*)Value, (nuint)bytes, stream.Value));
    }

    private void CheckRange(long bytes)
    {
        if (bytes < 0 || bytes > Bytes)
        {
            throw new ArgumentException($"{bytes} bytes do not lie in a pinned buffer of {Bytes} bytes.");
        }
    }

    protected override int Free(nint value) => cuMemFreeHost(value);
}

/// <summary>A queue of work; it does not wait for the default stream.</summary>
internal sealed class CudaStream : CudaHandle
{
    public CudaStream(CudaContext context)
        : base(context)
    {
        context.Use();
        Check(cuStreamCreate(out nint stream, flags: 1));
        handle = stream;
    }

    public bool IsCapturing
    {
        get
        {
            Check(cuStreamIsCapturing(Value, out int status));
            return status != 0;
        }
    }

    /// <summary>Waits for the work queued so far; its errors surface here.</summary>
    public void Synchronize()
    {
        Context.Use();
        Check(cuStreamSynchronize(Value));
    }

    public void Wait(CudaEvent @event)
    {
        Context.Use();
        Check(cuStreamWaitEvent(Value, @event.Value, 0));
    }

    /// <summary>Records the work that <paramref name="queue"/> puts on this stream, instead of running it.</summary>
    public CudaGraph Capture(Action queue)
    {
        Context.Use();
        const int ThreadLocal = 1;
        Check(cuStreamBeginCapture_v2(Value, ThreadLocal));
        nint graph = 0;
        try
        {
            queue();
        }
        catch
        {
            if (cuStreamEndCapture(Value, out graph) == 0 && graph != 0)
            {
                _ = cuGraphDestroy(graph);
            }

            throw;
        }

        Check(cuStreamEndCapture(Value, out graph));
        try
        {
            return new CudaGraph(Context, graph);
        }
        finally
        {
            _ = cuGraphDestroy(graph);
        }
    }

    protected override int Free(nint value) => cuStreamDestroy_v2(value);
}

/// <summary>Recorded work that is launched as one.</summary>
internal sealed class CudaGraph : CudaHandle
{
    public CudaGraph(CudaContext context, nint graph)
        : base(context)
    {
        context.Use();
        Check(cuGraphInstantiateWithFlags(out nint executable, graph, 0));
        handle = executable;
    }

    public void Launch(CudaStream stream)
    {
        Context.Use();
        Check(cuGraphLaunch(Value, stream.Value));
        Observability.CudaInstruments.LaunchedGraph(Context.Device);
    }

    protected override int Free(nint value) => cuGraphExecDestroy(value);
}

/// <summary>A point in a stream's work, with its time.</summary>
internal sealed class CudaEvent : CudaHandle
{
    /// <param name="context">Whose.</param>
    /// <param name="blocking">Whether a thread that waits for it sleeps, instead of spinning; its time is not measured then.</param>
    public CudaEvent(CudaContext context, bool blocking = false)
        : base(context)
    {
        const uint BlockingSync = 1, DisableTiming = 2;
        context.Use();
        Check(cuEventCreate(out nint value, blocking ? BlockingSync | DisableTiming : 0));
        handle = value;
    }

    public void Record(CudaStream stream)
    {
        Context.Use();
        Check(cuEventRecord(Value, stream.Value));
    }

    public void Synchronize()
    {
        Context.Use();
        Check(cuEventSynchronize(Value));
    }

    /// <summary>Microseconds of device time from this event to a later one; both must have happened.</summary>
    public double MicrosecondsTo(CudaEvent later)
    {
        Context.Use();
        Check(cuEventElapsedTime(out float milliseconds, Value, later.Value));
        return milliseconds * 1000.0;
    }

    protected override int Free(nint value) => cuEventDestroy_v2(value);
}
