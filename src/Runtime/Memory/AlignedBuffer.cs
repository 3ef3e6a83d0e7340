using System.Runtime.InteropServices;

namespace KernelGen.Memory;

/// <summary>
/// Unmanaged memory, zero at first, aligned to a cache line, so that a full vector load never spans two lines. Its size may exceed 2 GB. It
/// frees itself when it is disposed or nothing refers to it any more: keep it alive beyond the last use of its pointer.
/// </summary>
/// <typeparam name="T">An unmanaged element type.</typeparam>
internal sealed unsafe class AlignedBuffer<T> : SafeHandle
    where T : unmanaged
{
    private const nuint Alignment = 64;

    /// <exception cref="OutOfMemoryException">There is not that much memory.</exception>
    public AlignedBuffer(long length)
        : base(0, ownsHandle: true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Length = length;
        Bytes = checked(length * sizeof(T));
        SetHandle((nint)NativeMemory.AlignedAlloc((nuint)Math.Max(Bytes, 1), Alignment));
        NativeMemory.Clear((void*)handle, (nuint)Bytes);
        if (Bytes > 0)
        {
            GC.AddMemoryPressure(Bytes);
        }
    }

    public long Length { get; }

    public long Bytes { get; }

    /// <exception cref="ObjectDisposedException">The memory was freed.</exception>
    public T* Pointer => IsClosed ? throw new ObjectDisposedException(nameof(AlignedBuffer<>)) : (T*)handle;

    /// <summary>The memory for who holds a reference, which is there also after it was disposed.</summary>
    public T* Held => (T*)handle;

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        if (Bytes > 0)
        {
            GC.RemoveMemoryPressure(Bytes);
        }

        return true;
    }
}
