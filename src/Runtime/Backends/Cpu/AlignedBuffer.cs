using System.Runtime.CompilerServices;

namespace KernelGen.Backends.Cpu;

/// <summary>
/// Memory that does not move and starts on a cache line, so that a full vector load never spans two lines. It belongs to the garbage
/// collector: nobody has to free it, and it lives as long as this object is reachable.
/// </summary>
/// <typeparam name="T">An unmanaged element type.</typeparam>
internal sealed unsafe class AlignedBuffer<T>
    where T : unmanaged
{
    private const int Alignment = 64;
    private readonly byte[] _bytes;

    /// <summary>Allocates <paramref name="length"/> elements, all zero.</summary>
    /// <exception cref="NotSupportedException">The size exceeds what one array can hold.</exception>
    public AlignedBuffer(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        long bytes = checked((length * sizeof(T)) + Alignment);
        if (bytes > Array.MaxLength)
        {
            throw new NotSupportedException($"A buffer of {bytes:N0} bytes exceeds the largest array ({Array.MaxLength:N0} bytes).");
        }

        // A pinned array never moves, so the pointer taken here stays valid.
        _bytes = GC.AllocateArray<byte>((int)bytes, pinned: true);
        nuint address = (nuint)Unsafe.AsPointer(ref _bytes[0]);
        Pointer = (T*)((address + (Alignment - 1)) & ~(nuint)(Alignment - 1));
        Length = length;
    }

    /// <summary>The first element. Valid while this object is reachable: keep it alive (<see cref="GC.KeepAlive"/>) beyond the last use.</summary>
    public T* Pointer { get; }

    public long Length { get; }

    public long Bytes => Length * sizeof(T);
}
