using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using KernelGen.Storage;
using Microsoft.Win32.SafeHandles;

namespace KernelGen.Inference.Checkpoints;

/// <summary>Writes one safetensors file, streamed: the tensors are declared first, then their bytes follow in pieces.</summary>
/// <remarks>
/// The file is written under a temporary name in the same folder and takes its own name only in <see cref="Complete"/>, when all of it
/// is on disk: nobody ever sees a file that loads but is not whole. As the reference writer does, tensors with larger elements come
/// first and those of one type by name, so that every tensor is aligned to its elements.
/// </remarks>
internal sealed class SafetensorsWriter : IDisposable
{
    private const int Alignment = 8;

    private readonly Dictionary<string, Slot> _slots = new(StringComparer.Ordinal);
    private readonly string _path;
    private readonly string _temporaryPath;
    private readonly SafeFileHandle _file;
    private bool _finished;

    /// <summary>Starts a file, with the header written and the room for all tensors known.</summary>
    /// <param name="path">The file's name in the end; an existing file is replaced when the new one is complete.</param>
    /// <param name="tensors">Name, type and shape of every tensor. Names must be unique.</param>
    /// <param name="metadata">Free-form strings for the header; transformers expects <c>format</c> = <c>pt</c>.</param>
    /// <exception cref="ArgumentException">A name occurs twice or is reserved, or a shape is not valid.</exception>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public SafetensorsWriter(
        string path,
        IEnumerable<(string Name, TensorType Type, ImmutableArray<long> Shape)> tensors,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        _path = Path.GetFullPath(path);
        byte[] header = BuildHeader(tensors, metadata);
        _temporaryPath = Path.Combine(
            Path.GetDirectoryName(_path)!, $".{Path.GetFileName(_path)}.{Guid.NewGuid():N}{DurableFiles.TemporaryExtension}");
        _file = File.OpenHandle(_temporaryPath, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        try
        {
            RandomAccess.Write(_file, header, 0);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Where the file is until it is complete.</summary>
    internal string TemporaryPath => _temporaryPath;

    /// <summary>The size of the whole file.</summary>
    internal long FileBytes { get; private set; }

    /// <summary>Writes the next bytes of a tensor. Tensors may be written in any order, and in turns.</summary>
    /// <param name="name">A declared tensor.</param>
    /// <param name="bytes">Values in row-major order, little-endian.</param>
    /// <exception cref="ArgumentException">The tensor is not declared, or has no room for so many bytes.</exception>
    /// <exception cref="IOException">The disk is full or failed.</exception>
    /// <exception cref="ObjectDisposedException">The file is complete or abandoned.</exception>
    public void Append(string name, ReadOnlySpan<byte> bytes)
    {
        ArgumentNullException.ThrowIfNull(name);
        ObjectDisposedException.ThrowIf(_finished, this);
        if (!_slots.TryGetValue(name, out Slot? slot))
        {
            throw new ArgumentException($"The tensor '{name}' is not declared for {_path}.", nameof(name));
        }

        if (bytes.Length > slot.ByteLength - slot.Written)
        {
            throw new ArgumentException(
                $"The tensor '{name}' takes {slot.ByteLength} bytes; {bytes.Length} more after {slot.Written} do not fit.", nameof(bytes));
        }

        RandomAccess.Write(_file, bytes, slot.Offset + slot.Written);
        slot.Written += bytes.Length;
    }

    /// <summary>Writes bytes anywhere in a tensor; several threads may do so at once. Every byte must be written once.</summary>
    /// <param name="name">A declared tensor, which is not appended to as well.</param>
    /// <param name="position">Where in the tensor, in bytes from its start.</param>
    /// <param name="bytes">Values in row-major order, little-endian.</param>
    /// <exception cref="ArgumentException">The tensor is not declared, or the bytes are not all within it.</exception>
    /// <exception cref="IOException">The disk is full or failed.</exception>
    internal void WriteAt(string name, long position, ReadOnlySpan<byte> bytes)
    {
        if (!_slots.TryGetValue(name, out Slot? slot) || position < 0 || bytes.Length > slot.ByteLength - position)
        {
            throw new ArgumentException($"'{name}' has no room for {bytes.Length} bytes at {position} in {_path}.", nameof(position));
        }

        RandomAccess.Write(_file, bytes, slot.Offset + position);
        slot.AddWritten(bytes.Length);
    }

    /// <summary>Brings what is written so far to disk, while others go on writing: less is left to wait for in the end.</summary>
    /// <exception cref="IOException">The disk is full or failed.</exception>
    internal void Flush() => RandomAccess.FlushToDisk(_file);

    /// <summary>Flushes the file to disk and gives it its name.</summary>
    /// <exception cref="InvalidOperationException">A tensor is not written to its end.</exception>
    /// <exception cref="IOException">The disk is full or failed; the file that had the name before, if any, is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The file is complete or abandoned.</exception>
    public void Complete()
    {
        ObjectDisposedException.ThrowIf(_finished, this);
        foreach ((string name, Slot slot) in _slots)
        {
            if (slot.Written != slot.ByteLength)
            {
                throw new InvalidOperationException($"Of the tensor '{name}', {slot.Written} of {slot.ByteLength} bytes are written.");
            }
        }

        RandomAccess.FlushToDisk(_file);
        _file.Dispose();
        File.Move(_temporaryPath, _path, overwrite: true);
        _finished = true;
        DurableFiles.FlushFolder(Path.GetDirectoryName(_path)!);
    }

    /// <summary>Ends writing; a file that is not complete is deleted.</summary>
    public void Dispose()
    {
        if (!_finished)
        {
            _finished = true;
            _file.Dispose();
            File.Delete(_temporaryPath);
        }
    }

    private byte[] BuildHeader(
        IEnumerable<(string Name, TensorType Type, ImmutableArray<long> Shape)> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        (string Name, TensorType Type, ImmutableArray<long> Shape)[] ordered = [.. tensors
            .OrderByDescending(static tensor => tensor.Type.BitWidth())
            .ThenBy(static tensor => tensor.Type)
            .ThenBy(static tensor => tensor.Name, StringComparer.Ordinal)];
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject(SafetensorsHeader.MetadataKey);
                foreach ((string key, string value) in metadata)
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach ((string name, TensorType type, ImmutableArray<long> shape) in ordered)
            {
                if (name == SafetensorsHeader.MetadataKey || !_slots.TryAdd(name, new Slot()))
                {
                    throw new ArgumentException($"The tensor name '{name}' is reserved or occurs twice.", nameof(tensors));
                }

                if (!TensorTypes.TryMeasure(type, shape.AsSpan(), out _, out long bytes) || bytes > long.MaxValue / 2 - offset)
                {
                    throw new ArgumentException(
                        $"The tensor '{name}' has shape {TensorInfo.FormatShape(shape.AsSpan())} of {type}, which cannot be stored.", nameof(tensors));
                }

                _slots[name].Offset = offset;
                _slots[name].ByteLength = bytes;
                json.WriteStartObject(name);
                json.WriteString("dtype", type.HeaderName());
                WriteNumbers(json, "shape", shape.AsSpan());
                WriteNumbers(json, "data_offsets", [offset, offset + bytes]);
                json.WriteEndObject();
                offset += bytes;
            }

            json.WriteEndObject();
        }

        // Padded with spaces, so that the values begin at a multiple of the widest element.
        int padded = checked((int)(stream.Length + Alignment - 1) / Alignment * Alignment);
        byte[] header = new byte[SafetensorsHeader.LengthBytes + padded];
        FileBytes = header.Length;
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)padded);
        Span<byte> text = header.AsSpan(SafetensorsHeader.LengthBytes);
        stream.GetBuffer().AsSpan(0, (int)stream.Length).CopyTo(text);
        text[(int)stream.Length..].Fill((byte)' ');
        foreach (Slot slot in _slots.Values)
        {
            slot.Offset += header.Length;
            FileBytes = Math.Max(FileBytes, slot.Offset + slot.ByteLength);
        }

        return header;
    }

    private static void WriteNumbers(Utf8JsonWriter json, string name, ReadOnlySpan<long> numbers)
    {
        json.WriteStartArray(Encoding.UTF8.GetBytes(name));
        foreach (long number in numbers)
        {
            json.WriteNumberValue(number);
        }

        json.WriteEndArray();
    }

    private sealed class Slot
    {
        private long _written;

        public long Offset { get; set; }

        public long ByteLength { get; set; }

        public long Written
        {
            get => Interlocked.Read(ref _written);
            set => _written = value;
        }

        public void AddWritten(long bytes) => Interlocked.Add(ref _written, bytes);
    }
}
