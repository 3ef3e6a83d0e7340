using System.Runtime.InteropServices;

namespace KernelGen.Memory;

/// <summary>Unmanaged memory aligned to a cache line, which frees itself. Its size may exceed 2 GB.</summary>
internal sealed unsafe class AlignedBuffer : SafeHandle
{
    private const nuint Alignment = 64;

    public AlignedBuffer(nint bytes)
        : base(0, ownsHandle: true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        SetHandle((nint)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), Alignment));
        Bytes = bytes;
        if (bytes > 0)
        {
            GC.AddMemoryPressure(bytes);
        }
    }

    public nint Bytes { get; }

    public byte* Pointer => IsClosed ? throw new ObjectDisposedException(nameof(AlignedBuffer)) : (byte*)handle;

    public override bool IsInvalid => handle == 0;

    public void Clear() => NativeMemory.Clear(Pointer, (nuint)Bytes);

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
