using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Conversion;

/// <summary>A file of the result while it is written: by several threads, in pieces, and brought to disk on the way.</summary>
internal sealed class ShardOutput : IDisposable
{
    /// <summary>
    /// Bytes after which the disk is set to work, so that the end need not wait for all of them, and a machine of little memory is not
    /// filled with unwritten data.
    /// </summary>
    private const long FlushBytes = 256 << 20;

    private static readonly Dictionary<string, string> s_metadata = new() { ["format"] = "pt" };

    private readonly string _path;
    private readonly SafetensorsWriter _writer;
    private Task _flush = Task.CompletedTask;
    private long _unflushed;
    private int _openWork;

    public ShardOutput(PlannedShard shard, string folder)
    {
        Shard = shard;
        _openWork = shard.Work.Length;
        _path = Path.Combine(folder, shard.Name);
        _writer = OutputErrors.Named(_path, () => new SafetensorsWriter(
            _path, shard.Work.SelectMany(static work => work.Outputs).Select(static tensor => (tensor.Name, tensor.Type, tensor.Shape)), s_metadata));
    }

    public PlannedShard Shard { get; }

    /// <summary>Writes a piece of a tensor; any thread may.</summary>
    public void Write(string tensor, long position, ReadOnlySpan<byte> bytes)
    {
        try
        {
            _writer.WriteAt(tensor, position, bytes);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw OutputErrors.CannotWrite(_path, exception);
        }

        if (Interlocked.Add(ref _unflushed, bytes.Length) >= FlushBytes)
        {
            lock (_writer)
            {
                if (_flush.IsCompletedSuccessfully && _unflushed >= FlushBytes)
                {
                    Interlocked.Exchange(ref _unflushed, 0);
                    _flush = Task.Run(_writer.Flush);
                }
            }
        }
    }

    /// <summary>Counts a source tensor as written.</summary>
    /// <returns>Whether it was the last one.</returns>
    public bool EndWork() => Interlocked.Decrement(ref _openWork) == 0;

    /// <summary>Brings the file to disk and gives it its name.</summary>
    public FinishedShard Finish() => OutputErrors.Named(_path, () =>
    {
        // The checksum is taken of what is still in the system's cache, while the disk writes it.
        Task<string> checksum = Task.Run(() => FileChecksum.Of(_writer.TemporaryPath));
        Task.WhenAll(checksum, _flush, Task.Run(_writer.Flush)).GetAwaiter().GetResult();
        _writer.Complete();
        return new FinishedShard(Shard.Name, _writer.FileBytes, checksum.GetAwaiter().GetResult());
    });

    /// <summary>Whether a finished file is still what it was.</summary>
    public static bool IsIntact(FinishedShard shard, string folder)
    {
        string path = Path.Combine(folder, shard.Name);
        return OutputErrors.Named(path, () =>
            new FileInfo(path) is { Exists: true, LinkTarget: null } file && file.Length == shard.Bytes && FileChecksum.Of(path) == shard.Checksum);
    }

    /// <summary>Gives the file up, unless it is finished.</summary>
    public void Dispose()
    {
        try
        {
            _flush.GetAwaiter().GetResult();
            _writer.Dispose();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Another error made us give up; the next run removes what is left.
        }
    }
}
