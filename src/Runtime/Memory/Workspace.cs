using System.Collections.Concurrent;
using System.Numerics;

namespace KernelGen.Memory;

/// <summary>
/// A growing scratch buffer that is handed out again and again, so that repeated multiplications allocate no unmanaged memory.
/// Rent gives a workspace to one caller at a time; disposing returns it.
/// </summary>
internal sealed unsafe class Workspace : IDisposable
{
    /// <summary>Bytes that all idle workspaces may hold together: huge or many calls must not keep their memory for ever.</summary>
    private const long LargestIdle = 256 << 20;

    private static readonly ConcurrentBag<Workspace> Pool = [];

    private static long s_idle;

    private AlignedBuffer<byte>? _buffer;

    private nint _used;

    private Workspace()
    {
    }

    /// <summary>A workspace with room for the given number of bytes.</summary>
    public static Workspace Rent(nint bytes)
    {
        if (!Pool.TryTake(out Workspace? workspace))
        {
            workspace = new Workspace();
        }
        else
        {
            Interlocked.Add(ref s_idle, -workspace._buffer!.Bytes);
        }

        if (workspace._buffer is null || workspace._buffer.Bytes < bytes)
        {
            workspace._buffer?.Dispose();
            workspace._buffer = new AlignedBuffer<byte>((long)BitOperations.RoundUpToPowerOf2((ulong)Math.Max(bytes, 4096)));
        }

        workspace._used = 0;
        return workspace;
    }

    /// <summary>Bytes that <see cref="Take{T}"/> uses for the given count: whole cache lines.</summary>
    public static nint SizeOf<T>(nint count)
        where T : unmanaged => checked(((count * sizeof(T)) + 63) & ~(nint)63);

    /// <summary>The next part of the workspace, aligned to a cache line, with whatever was there before.</summary>
    public T* Take<T>(nint count)
        where T : unmanaged
    {
        nint size = SizeOf<T>(count);
        if (_used + size > _buffer!.Bytes)
        {
            throw new InvalidOperationException($"A workspace of {_buffer.Bytes} bytes was asked for {_used + size}.");
        }

        T* part = (T*)(_buffer.Pointer + _used);
        _used += size;
        return part;
    }

    public void Dispose()
    {
        if (Interlocked.Add(ref s_idle, _buffer!.Bytes) > LargestIdle)
        {
            Interlocked.Add(ref s_idle, -_buffer.Bytes);
            _buffer.Dispose();
            return;
        }

        Pool.Add(this);
    }
}
