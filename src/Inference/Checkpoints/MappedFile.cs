using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace KernelGen.Inference.Checkpoints;

/// <summary>A whole file mapped into memory, read only.</summary>
/// <remarks>
/// The mapping is released by <see cref="Dispose"/> alone, never by the garbage collector: a span does not keep its owner alive, and
/// memory that vanishes under one ends the process. A mapping that is never disposed costs address space until the process ends.
/// </remarks>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly SafeMemoryMappedViewHandle _view;
    private readonly byte* _start;
    private int _disposed;

    private MappedFile(string path, long length, SafeMemoryMappedViewHandle view, byte* start)
    {
        Path = path;
        Length = length;
        _view = view;
        _start = start;
    }

    /// <summary>The path that the file was opened by.</summary>
    public string Path { get; }

    /// <summary>The file's size in bytes.</summary>
    public long Length { get; }

    /// <summary>Maps a file of at least <paramref name="leastBytes"/> bytes (1 or more).</summary>
    /// <exception cref="CheckpointException">The file is missing, unreadable or shorter.</exception>
    public static MappedFile Open(string path, int leastBytes)
    {
        try
        {
            long length = SmallFile.LengthBeforeOpening(path);
            if (length >= leastBytes)
            {
                using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
                length = stream.Length;
                if (length >= leastBytes)
                {
                    return Map(path, stream, length);
                }
            }

            throw CheckpointException.For(
                path,
                $"the file has {length} bytes, a safetensors file has at least {leastBytes}.",
                "It is truncated or of another kind: download or convert it again.");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw CheckpointException.For(
                path, $"the file cannot be read ({exception.Message}).", "Check that it exists and that you may read it.", exception);
        }
    }

    /// <summary>The bytes from <paramref name="offset"/> on; the caller has checked the range against <see cref="Length"/>.</summary>
    /// <exception cref="ObjectDisposedException">The file is closed.</exception>
    public ReadOnlySpan<T> Span<T>(long offset, int count)
        where T : unmanaged
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, typeof(Checkpoint));
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)count * sizeof(T), Length - offset);
        return new ReadOnlySpan<T>(_start + offset, count);
    }

    /// <summary>Keeps the mapping in place until <see cref="Unpin"/>, even if the file is disposed meanwhile.</summary>
    /// <exception cref="ObjectDisposedException">The file is closed.</exception>
    public void Pin()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, typeof(Checkpoint));
        bool added = false;
        _view.DangerousAddRef(ref added);
    }

    /// <summary>Ends one <see cref="Pin"/>.</summary>
    public void Unpin() => _view.DangerousRelease();

    /// <summary>Releases the mapping once no <see cref="Pin"/> is left.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _view.ReleasePointer();
            _view.Dispose();
        }
    }

    private static MappedFile Map(string path, FileStream stream, long length)
    {
        // The view outlives the stream and the mapping object, so that a checkpoint of hundreds of shards holds no open files.
        using MemoryMappedFile mapping = MemoryMappedFile.CreateFromFile(
            stream, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        using MemoryMappedViewAccessor accessor = mapping.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        SafeMemoryMappedViewHandle view = accessor.SafeMemoryMappedViewHandle;
        byte* pointer = null;
        // Takes a reference that outlives the accessor; Dispose returns it.
        view.AcquirePointer(ref pointer);
        return new MappedFile(path, length, view, pointer + accessor.PointerOffset);
    }
}
