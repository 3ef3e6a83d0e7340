using System.Collections.Concurrent;

namespace KernelGen.Memory;

/// <summary>
/// A growing scratch buffer that is handed out again and again, so that repeated multiplications allocate nothing.
/// Rent gives a workspace to one caller at a time; disposing returns it.
/// </summary>
internal sealed unsafe class Workspace : IDisposable
{
    /// <summary>A workspace that grew beyond this is freed on return: one huge call must not hold its memory for ever.</summary>
    private const nint LargestKept = 64 << 20;

    private static readonly ConcurrentBag<Workspace> Pool = [];

    private AlignedBuffer? buffer;

    private nint used;

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

        if (workspace.buffer is null || workspace.buffer.Bytes < bytes)
        {
            workspace.buffer?.Dispose();
            workspace.buffer = new AlignedBuffer(bytes);
        }

        workspace.used = 0;
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
        if (used + size > buffer!.Bytes)
        {
            throw new InvalidOperationException($"A workspace of {buffer.Bytes} bytes was asked for {used + size}.");
        }

        T* part = (T*)(buffer.Pointer + used);
        used += size;
        return part;
    }

    public void Dispose()
    {
        if (buffer!.Bytes > LargestKept)
        {
            buffer.Dispose();
            buffer = null;
        }

        Pool.Add(this);
    }
}
