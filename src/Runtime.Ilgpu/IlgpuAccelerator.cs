using ILGPU;
using ILGPU.Runtime;

namespace KernelGen;

/// <summary>An open device with the stream that multiplications are queued on. Not thread-safe. Dispose it after what was created with it.</summary>
public sealed class IlgpuAccelerator : IDisposable
{
    internal IlgpuAccelerator(IlgpuDevice device, Accelerator accelerator)
    {
        Device = device;
        Accelerator = accelerator;
        Stream = accelerator.CreateStream();
    }

    /// <summary>The device.</summary>
    public IlgpuDevice Device { get; }

    /// <summary>ILGPU's accelerator, to allocate device memory with.</summary>
    public Accelerator Accelerator { get; }

    /// <summary>Takes all work, in order.</summary>
    public AcceleratorStream Stream { get; }

    /// <summary>Waits for what was queued.</summary>
    /// <exception cref="IlgpuException">Something of it failed.</exception>
    public void Synchronize() => Guard($"Waiting for {Device}", Stream.Synchronize);

    /// <inheritdoc/>
    public void Dispose()
    {
        Stream.Dispose();
        Accelerator.Dispose();
    }

    /// <summary>Memory for so many elements.</summary>
    internal MemoryBuffer1D<T, Stride1D.Dense> Allocate<T>(long length, string what)
        where T : unmanaged
    {
        try
        {
            return Accelerator.Allocate1D<T>(length);
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new IlgpuException(
                $"{Device} has no {length * Interop.SizeOf<T>()} bytes for {what}: use a smaller batch, free weights, or another device.", exception);
        }
    }

    internal void Upload<T>(MemoryBuffer1D<T, Stride1D.Dense> buffer, ReadOnlySpan<T> values, long offset = 0)
        where T : unmanaged
    {
        if (values.IsEmpty)
        {
            return;
        }

        buffer.View.BaseView.SubView(offset, values.Length).CopyFromCPU(Stream, values);
    }

    /// <summary>Names what failed in whatever ILGPU throws.</summary>
    internal static void Guard(string what, Action action)
    {
        try
        {
            action();
        }
        catch (Exception exception) when (exception is not (OutOfMemoryException or IlgpuException or ArgumentException))
        {
            throw new IlgpuException($"{what} failed; if the device is lost, start the process again.", exception);
        }
    }
}
