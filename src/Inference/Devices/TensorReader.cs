using System.Runtime.ExceptionServices;
using KernelGen.Inference.Checkpoints;
using Microsoft.Win32.SafeHandles;

namespace KernelGen.Inference.Devices;

/// <summary>
/// Reads parts of tensors from their files, on all processors: reading leaves nothing in the process's memory, where the pages of a mapping would
/// count as its own, and a file that somebody truncates is an error. Several threads may read at once.
/// </summary>
internal sealed unsafe class TensorReader : IDisposable
{
    /// <summary>Bytes that are worth a thread.</summary>
    private const int PartBytes = 2 << 20;

    private readonly Dictionary<string, SafeFileHandle> _files = new(StringComparer.Ordinal);

    /// <summary>Reads bytes of a tensor.</summary>
    /// <exception cref="CheckpointException">The file cannot be read, or ends before.</exception>
    public void Read(TensorInfo tensor, long offset, long bytes, byte* destination)
    {
        SafeFileHandle file = Open(tensor.File);
        long start = tensor.Offset + offset;
        int parts = (int)((bytes + PartBytes - 1) / PartBytes);
        if (parts <= 1)
        {
            ReadPart(tensor, file, start, bytes, destination);
            return;
        }

        Run(parts, part =>
        {
            long first = (long)part * PartBytes;
            ReadPart(tensor, file, start + first, Math.Min(PartBytes, bytes - first), destination + first);
        });
    }

    /// <summary>Runs a body on all processors; the first exception comes out as it was thrown.</summary>
    public static void Run(int count, Action<int> body)
    {
        try
        {
            _ = Parallel.For(0, count, body);
        }
        catch (AggregateException exception)
        {
            ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]);
        }
    }

    public void Dispose()
    {
        foreach (SafeFileHandle file in _files.Values)
        {
            file.Dispose();
        }
    }

    private static void ReadPart(TensorInfo tensor, SafeFileHandle file, long offset, long bytes, byte* destination)
    {
        Span<byte> left = new(destination, checked((int)bytes));
        try
        {
            while (!left.IsEmpty)
            {
                int count = RandomAccess.Read(file, left, offset);
                if (count == 0)
                {
                    throw CheckpointException.For(tensor.File, tensor.Name, $"the file ends before byte {offset + left.Length} now.", "Download or convert it again.");
                }

                left = left[count..];
                offset += count;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.For(tensor.File, $"tensor '{tensor.Name}' cannot be read ({exception.Message}).", "Check the disk and that you may read it.", exception);
        }
    }

    private SafeFileHandle Open(string path)
    {
        // Pieces of a transposed matrix are read by several threads.
        lock (_files)
        {
            if (!_files.TryGetValue(path, out SafeFileHandle? file))
            {
                try
                {
                    file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read, FileOptions.SequentialScan);
                }
                catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
                {
                    throw CheckpointException.For(path, $"the file cannot be read ({exception.Message}).", "Check that it exists and that you may read it.", exception);
                }

                _files.Add(path, file);
            }

            return file;
        }
    }
}
