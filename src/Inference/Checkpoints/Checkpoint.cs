using System.Collections.ObjectModel;
using KernelGen.Messages;

namespace KernelGen.Inference.Checkpoints;

/// <summary>A model's weights in safetensors files, memory-mapped: opening reads the headers only, a value is read when it is used.</summary>
/// <remarks>
/// Members may be called from several threads at once, except that spans must not be used after <see cref="Dispose"/>. The files must
/// not be truncated while a checkpoint is open.
/// </remarks>
public sealed class Checkpoint : IDisposable
{
    internal const string SingleFileName = "model.safetensors";
    internal const string IndexFileName = "model.safetensors.index.json";

    /// <summary>A safetensors file has at least a header's length and <c>{}</c>.</summary>
    private const int LeastBytes = SafetensorsHeader.LengthBytes + 2;

    private readonly Dictionary<string, MappedFile> _filesByPath;
    private readonly Dictionary<string, TensorInfo> _tensors;
    private int _disposed;

    private Checkpoint(string path, Dictionary<string, TensorInfo> tensors, Dictionary<string, MappedFile> filesByPath)
    {
        Path = path;
        _tensors = tensors;
        _filesByPath = filesByPath;
        Tensors = new ReadOnlyDictionary<string, TensorInfo>(tensors);
    }

    /// <summary>The folder or file as it was given to <see cref="Open"/>.</summary>
    public string Path { get; }

    /// <summary>The tensors by name. Of a sharded checkpoint, those that its index lists.</summary>
    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>Opens a checkpoint.</summary>
    /// <param name="path">
    /// A folder in Hugging Face layout (<c>model.safetensors</c>, or <c>model.safetensors.index.json</c> with its shards), one
    /// <c>.safetensors</c> file, or the index itself.
    /// </param>
    /// <exception cref="CheckpointException">
    /// There is no checkpoint, a file of it cannot be read or is damaged, a shard is missing or lies outside of the folder, or it is
    /// in a format that is refused, such as pickle. Nothing of it stays open.
    /// </exception>
    public static Checkpoint Open(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!BitConverter.IsLittleEndian)
        {
            throw new PlatformNotSupportedException("Safetensors values are little-endian, and so must be the machine that maps them.");
        }

        if (Directory.Exists(path))
        {
            return OpenFolder(path);
        }

        if (!File.Exists(path))
        {
            throw CheckpointException.For(
                path.Length == 0 ? "(no path)" : MessageText.Shorten(path),
                "there is no such file or folder.",
                "Name a folder that holds model.safetensors, or a .safetensors file.");
        }

        if (System.IO.Path.GetFileName(path) == IndexFileName)
        {
            return OpenShards(path, new CheckpointFolder(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!), path);
        }

        return PickleFiles.HasPickleExtension(path)
            ? throw PickleFiles.Refuse(path)
            : OpenFile(path, System.IO.Path.GetFullPath(path));
    }

    /// <summary>Whether there is a tensor of this name.</summary>
    /// <param name="name">The tensor's full name, such as <c>model.decoder.embed_tokens.weight</c>.</param>
    public bool Contains(string name) => _tensors.ContainsKey(name);

    /// <summary>A view on a tensor, without a copy.</summary>
    /// <param name="name">The tensor's full name.</param>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    /// <exception cref="ObjectDisposedException">The checkpoint is disposed.</exception>
    public MappedTensor Get(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        if (!_tensors.TryGetValue(name, out TensorInfo? info))
        {
            throw CheckpointException.For(
                Path,
                name,
                $"it is not among the {_tensors.Count} tensors of the checkpoint.",
                "Check that the checkpoint is complete and of the family that config.json names.");
        }

        return new MappedTensor(info, _filesByPath[info.File]);
    }

    /// <summary>A tensor's values converted to float32, in row-major order.</summary>
    /// <param name="name">The tensor's full name; its type must be F32, F16 or BF16.</param>
    /// <param name="expectedShape">The shape that it must have, outermost dimension first; none given means that any shape will do.</param>
    /// <returns>A new array with as many values as the shape's product.</returns>
    /// <exception cref="CheckpointException">
    /// There is no such tensor, it has another shape (the message names both) or type, or more elements than an array can hold.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The checkpoint is disposed.</exception>
    public float[] ReadSingles(string name, params ReadOnlySpan<long> expectedShape)
    {
        MappedTensor tensor = Get(name);
        TensorInfo info = tensor.Info;
        if (expectedShape.Length != 0 && !info.Shape.AsSpan().SequenceEqual(expectedShape))
        {
            throw CheckpointException.For(
                info.File,
                name,
                $"its shape is {info.ShapeText}, {TensorInfo.FormatShape(expectedShape)} was expected.",
                "Check that config.json belongs to this checkpoint.");
        }

        tensor.RequireFloatingPoint();
        if (info.ElementCount > Array.MaxLength)
        {
            throw CheckpointException.For(
                info.File, name, $"its {info.ElementCount} elements do not fit one array.", "Read it by parts with MappedTensor.CopyTo.");
        }

        float[] values = GC.AllocateUninitializedArray<float>((int)info.ElementCount);
        tensor.CopyTo(0, values);
        return values;
    }

    /// <summary>Closes the files. Views throw <see cref="ObjectDisposedException"/> from now on; spans taken from them must not be used any more.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            Close(_filesByPath);
        }
    }

    private static Checkpoint OpenFolder(string path)
    {
        CheckpointFolder folder = new(path);
        // In the order of transformers: the single file first.
        if (folder.Find(SingleFileName) is string single)
        {
            return OpenFile(path, single);
        }

        if (folder.Find(IndexFileName) is string index)
        {
            return OpenShards(path, folder, index);
        }

        string[] files;
        try
        {
            files = Directory.GetFiles(folder.FullPath);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.For(path, $"the folder cannot be read ({exception.Message}).", "Check that you may read it.", exception);
        }

        Array.Sort(files, StringComparer.Ordinal);
        if (Array.Find(files, PickleFiles.HasPickleExtension) is string pickle)
        {
            throw PickleFiles.Refuse(pickle);
        }

        string? other = Array.Find(files, static file => file.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase));
        throw CheckpointException.For(
            path,
            $"there is no {SingleFileName} and no {IndexFileName} in the folder.",
            other is null ? "Name the folder of a checkpoint." : $"If you mean {other}, name that file.");
    }

    private static Checkpoint OpenFile(string path, string file)
    {
        MappedFile mapped = MappedFile.Open(file, LeastBytes);
        try
        {
            return new Checkpoint(
                path, SafetensorsHeader.Read(mapped), new Dictionary<string, MappedFile>(StringComparer.Ordinal) { [mapped.Path] = mapped });
        }
        catch
        {
            mapped.Dispose();
            throw;
        }
    }

    private static Checkpoint OpenShards(string path, CheckpointFolder folder, string index)
    {
        Dictionary<string, string> shardOfTensor = ShardIndex.Read(index);
        Dictionary<string, TensorInfo> tensors = new(StringComparer.Ordinal);
        Dictionary<string, MappedFile> filesByPath = new(StringComparer.Ordinal);
        try
        {
            foreach (IGrouping<string, string> shard in shardOfTensor.GroupBy(static entry => entry.Value, static entry => entry.Key, StringComparer.Ordinal))
            {
                MappedFile mapped = OpenShard(folder, index, shard.Key);
                filesByPath.Add(mapped.Path, mapped);
                Dictionary<string, TensorInfo> stored = SafetensorsHeader.Read(mapped);
                foreach (string name in shard)
                {
                    if (!stored.TryGetValue(name, out TensorInfo? info))
                    {
                        throw CheckpointException.For(
                            index, name, $"the index says that it is in {shard.Key}, but it is not.", "Download or save the checkpoint again.");
                    }

                    tensors.Add(name, info);
                }
            }

            return new Checkpoint(path, tensors, filesByPath);
        }
        catch
        {
            Close(filesByPath);
            throw;
        }
    }

    private static MappedFile OpenShard(CheckpointFolder folder, string index, string shard)
    {
        if (PickleFiles.HasPickleExtension(shard))
        {
            throw PickleFiles.Refuse(System.IO.Path.Combine(folder.FullPath, MessageText.Shorten(shard)));
        }

        string file = folder.Find(shard) ?? throw CheckpointException.For(
            index, $"it names the shard {shard}, which is missing from the folder.", "Download the missing file, or save the checkpoint again.");
        return MappedFile.Open(file, LeastBytes);
    }

    private static void Close(Dictionary<string, MappedFile> files)
    {
        foreach (MappedFile file in files.Values)
        {
            file.Dispose();
        }
    }
}
