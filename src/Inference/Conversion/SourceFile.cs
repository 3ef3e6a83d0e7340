using System.Buffers.Binary;
using System.Security.Cryptography;
using KernelGen.Inference.Checkpoints;
using Microsoft.Win32.SafeHandles;

namespace KernelGen.Inference.Conversion;

/// <summary>
/// One file of the source, read and never mapped: reading a file that somebody truncates is an error, touching a mapping of it ends the
/// process; and what is read does not stay in the process's memory.
/// </summary>
internal sealed class SourceFile : IDisposable
{
    private readonly SafeFileHandle _handle;

    private SourceFile(string path, SafeFileHandle handle, SourceIdentity identity)
    {
        Path = path;
        _handle = handle;
        Identity = identity;
    }

    public string Path { get; }

    /// <summary>What the file was when it was opened.</summary>
    public SourceIdentity Identity { get; }

    /// <summary>Opens a safetensors file.</summary>
    /// <exception cref="CheckpointException">It is gone or cannot be read.</exception>
    public static SourceFile Open(string path)
    {
        try
        {
            SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read, FileOptions.SequentialScan);
            try
            {
                return new SourceFile(path, handle, Identify(path, handle));
            }
            catch
            {
                handle.Dispose();
                throw;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CannotRead(path, exception);
        }
    }

    /// <summary>Fills a buffer from a place in the file.</summary>
    /// <exception cref="CheckpointException">The file cannot be read, or ends before.</exception>
    public void Read(Span<byte> buffer, long offset)
    {
        try
        {
            while (!buffer.IsEmpty)
            {
                int count = RandomAccess.Read(_handle, buffer, offset);
                if (count == 0)
                {
                    throw Changed(Path, $"it ends at byte {offset} now");
                }

                buffer = buffer[count..];
                offset += count;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CannotRead(Path, exception);
        }
    }

    /// <summary>Refuses to go on with a file that is not what it was when it was opened.</summary>
    /// <exception cref="CheckpointException">It is gone, or another.</exception>
    public void RequireUnchanged()
    {
        if (!File.Exists(Path))
        {
            throw Changed(Path, "it is gone");
        }

        using SourceFile now = Open(Path);
        if (now.Identity != Identity)
        {
            throw Changed(Path, now.Identity.Bytes == Identity.Bytes ? "its content or time of change is another" : $"it has {now.Identity.Bytes} bytes instead of {Identity.Bytes}");
        }
    }

    public void Dispose() => _handle.Dispose();

    private static SourceIdentity Identify(string path, SafeFileHandle handle)
    {
        // Of the opened file, which a link only leads to.
        long bytes = RandomAccess.GetLength(handle);
        long modified = File.GetLastWriteTimeUtc(handle).Ticks;
        byte[] length = new byte[SafetensorsHeader.LengthBytes];
        _ = RandomAccess.Read(handle, length, 0);
        ulong headerBytes = Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(length), SafetensorsHeader.MaxBytes);
        byte[] header = new byte[SafetensorsHeader.LengthBytes + (int)headerBytes];
        int count = 0;
        while (count < header.Length && RandomAccess.Read(handle, header.AsSpan(count), count) is > 0 and int read)
        {
            count += read;
        }

        return new SourceIdentity(System.IO.Path.GetFileName(path), bytes, modified, Convert.ToHexStringLower(SHA256.HashData(header.AsSpan(0, count))));
    }

    private static CheckpointException Changed(string path, string how) => CheckpointException.For(
        path,
        $"the source changed while it was converted: {how}.",
        "Nothing was given out. When the source is at rest, delete the unfinished '.partial' folder beside the output and convert again.");

    private static CheckpointException CannotRead(string path, Exception exception) => CheckpointException.For(
        path, $"the file cannot be read ({exception.Message}).", "Check that it exists and that you may read it, and run the same command again.", exception);
}

/// <summary>What a source file is known by.</summary>
/// <param name="Name">Its name without the folder.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Modified">When it was changed last, in ticks of UTC.</param>
/// <param name="HeaderHash">SHA-256 of its safetensors header, as hexadecimal digits.</param>
internal sealed record SourceIdentity(string Name, long Bytes, long Modified, string HeaderHash);
