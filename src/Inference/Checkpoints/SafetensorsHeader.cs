using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text.Json;
using KernelGen.Messages;

namespace KernelGen.Inference.Checkpoints;

/// <summary>Reads and checks the header of a safetensors file: 8 bytes of length, then a JSON object of tensors.</summary>
/// <remarks>
/// As strict as the reference reader: the tensors must fill the rest of the file in some order without a gap or an overlap. What is
/// allocated is bounded by the file's size and <see cref="MaxTensors"/>.
/// </remarks>
internal static class SafetensorsHeader
{
    /// <summary>The bytes of the header's length.</summary>
    public const int LengthBytes = sizeof(ulong);

    /// <summary>The longest header that the reference reader accepts, in bytes.</summary>
    public const int MaxBytes = 100_000_000;

    /// <summary>More than any known checkpoint has in one file; bounds what a hostile header makes us allocate.</summary>
    public const int MaxTensors = 200_000;

    /// <summary>As many dimensions as PyTorch has.</summary>
    public const int MaxRank = 64;

    /// <summary>The key of the header's free-form strings, which is no tensor.</summary>
    public const string MetadataKey = "__metadata__";

    private const string DamagedRemedy = "The file is damaged: download or convert it again.";

    /// <summary>Reads the tensors of a mapped file.</summary>
    /// <exception cref="CheckpointException">The header is not valid, or does not fit the file.</exception>
    public static Dictionary<string, TensorInfo> Read(MappedFile file)
    {
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(file.Span<byte>(0, LengthBytes));
        if (length > MaxBytes)
        {
            RefuseOtherFormats(file);
            throw CheckpointException.For(
                file.Path,
                $"the header's length reads {length} bytes, the limit is {MaxBytes}.",
                "The file is damaged or no safetensors file: download or convert it again.");
        }

        if (length > (ulong)(file.Length - LengthBytes))
        {
            throw CheckpointException.For(
                file.Path,
                $"the header's length reads {length} bytes, but only {file.Length - LengthBytes} follow.",
                "The file is truncated: download or convert it again.");
        }

        ReadOnlySpan<byte> json = file.Span<byte>(LengthBytes, (int)length);
        long dataStart = LengthBytes + (long)length;
        Dictionary<string, TensorInfo> tensors;
        try
        {
            tensors = Parse(json, file.Path, dataStart);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a string that is not valid UTF-8, or half of a surrogate pair.
            throw CheckpointException.For(
                file.Path, $"the header is not valid JSON ({JsonText.Describe(exception)}).", DamagedRemedy, exception);
        }

        RequireContiguous(tensors, file, dataStart);
        return tensors;
    }

    private static Dictionary<string, TensorInfo> Parse(ReadOnlySpan<byte> json, string path, long dataStart)
    {
        Dictionary<string, TensorInfo> tensors = new(StringComparer.Ordinal);
        bool hasMetadata = false;
        Utf8JsonReader reader = new(json);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject || reader.TokenStartIndex != 0)
        {
            throw CheckpointException.For(path, "the header does not begin with '{'.", DamagedRemedy);
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (name == MetadataKey)
            {
                if (hasMetadata)
                {
                    throw CheckpointException.For(path, $"the header has '{MetadataKey}' twice.", DamagedRemedy);
                }

                hasMetadata = true;
                CheckMetadata(ref reader, path);
                continue;
            }

            if (tensors.Count == MaxTensors)
            {
                throw CheckpointException.For(
                    path, $"the header lists more than {MaxTensors} tensors.", "Save the checkpoint in several shards.");
            }

            if (!tensors.TryAdd(name, ReadTensor(ref reader, path, name, dataStart)))
            {
                throw CheckpointException.For(path, name, "the header lists it twice.", DamagedRemedy);
            }
        }

        // Anything but white space after the object is an error of the JSON reader.
        reader.Read();
        return tensors;
    }

    private static void CheckMetadata(ref Utf8JsonReader reader, string path)
    {
        bool valid = reader.TokenType == JsonTokenType.StartObject;
        while (valid && reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            reader.Read();
            valid = reader.TokenType == JsonTokenType.String;
        }

        if (!valid)
        {
            throw CheckpointException.For(path, $"'{MetadataKey}' is not an object of strings.", DamagedRemedy);
        }
    }

    private static TensorInfo ReadTensor(ref Utf8JsonReader reader, string path, string name, long dataStart)
    {
        TensorType? type = null;
        List<long>? shape = null;
        List<long>? offsets = null;
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw CheckpointException.For(path, name, $"its description is a JSON {reader.TokenType}, an object was expected.", DamagedRemedy);
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string field = reader.GetString()!;
            reader.Read();
            bool repeated = false;
            switch (field)
            {
                case "dtype":
                    repeated = type is not null;
                    type = ReadType(ref reader, path, name);
                    break;
                case "shape":
                    repeated = shape is not null;
                    shape = ReadNumbers(ref reader, path, name, field, MaxRank);
                    break;
                case "data_offsets":
                    repeated = offsets is not null;
                    offsets = ReadNumbers(ref reader, path, name, field, 2);
                    break;
                default:
                    reader.Skip();
                    break;
            }

            if (repeated)
            {
                throw CheckpointException.For(path, name, $"'{field}' is given twice.", DamagedRemedy);
            }
        }

        if (type is null || shape is null || offsets is not { Count: 2 })
        {
            string missing = type is null ? "dtype" : shape is null ? "shape" : "data_offsets (begin and end)";
            throw CheckpointException.For(path, name, $"its {missing} is missing.", DamagedRemedy);
        }

        ImmutableArray<long> dimensions = [.. shape];
        string shapeText = TensorInfo.FormatShape(dimensions.AsSpan());
        if (!TensorTypes.TryMeasure(type.Value, dimensions.AsSpan(), out _, out long bytes))
        {
            throw CheckpointException.For(
                path, name, $"shape {shapeText} of {type.Value.HeaderName()} has no size in whole bytes that fits 63 bits.", DamagedRemedy);
        }

        (long begin, long end) = (offsets[0], offsets[1]);
        if (begin > end || end - begin != bytes)
        {
            throw CheckpointException.For(
                path, name, $"data_offsets [{begin}, {end}] do not fit shape {shapeText} of {type.Value.HeaderName()}, which takes {bytes} bytes.", DamagedRemedy);
        }

        if (end > long.MaxValue - dataStart)
        {
            throw CheckpointException.For(path, name, $"data_offsets [{begin}, {end}] are out of range.", DamagedRemedy);
        }

        return new TensorInfo(name, type.Value, dimensions, bytes, path) { Offset = dataStart + begin };
    }

    private static TensorType ReadType(ref Utf8JsonReader reader, string path, string name)
    {
        string? text = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
        if (text is not null && TensorTypes.TryParse(text, out TensorType type))
        {
            return type;
        }

        throw CheckpointException.For(
            path,
            name,
            text is null ? $"its dtype is a JSON {reader.TokenType}, a string was expected." : $"its dtype '{MessageText.Shorten(text)}' is unknown.",
            "Convert the checkpoint to float32, float16 or bfloat16.");
    }

    private static List<long> ReadNumbers(ref Utf8JsonReader reader, string path, string name, string field, int most)
    {
        List<long> numbers = [];
        bool valid = reader.TokenType == JsonTokenType.StartArray;
        while (valid && reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            long number = -1;
            valid = reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out number) && number >= 0 && numbers.Count < most;
            numbers.Add(number);
        }

        return valid
            ? numbers
            : throw CheckpointException.For(
                path, name, $"its {field} is not a list of at most {most} whole numbers from 0 to {long.MaxValue}.", DamagedRemedy);
    }

    private static void RequireContiguous(Dictionary<string, TensorInfo> tensors, MappedFile file, long dataStart)
    {
        TensorInfo[] ordered = [.. tensors.Values];
        // By the end as well: an empty tensor may begin where another one does.
        Array.Sort(ordered, static (a, b) => (a.Offset, a.ByteLength).CompareTo((b.Offset, b.ByteLength)));
        long position = dataStart;
        foreach (TensorInfo tensor in ordered)
        {
            if (tensor.Offset != position)
            {
                string what = tensor.Offset < position ? "overlaps the tensor before it" : "leaves a gap before it";
                throw CheckpointException.For(
                    file.Path,
                    tensor.Name,
                    $"data_offsets [{tensor.Offset - dataStart}, {tensor.Offset - dataStart + tensor.ByteLength}]: it {what}, which ends at {position - dataStart}.",
                    DamagedRemedy);
            }

            position += tensor.ByteLength;
            if (position > file.Length)
            {
                throw CheckpointException.For(
                    file.Path,
                    tensor.Name,
                    $"its values end at byte {position}, the file has {file.Length} bytes.",
                    "The file is truncated: download or convert it again.");
            }
        }

        if (position != file.Length)
        {
            throw CheckpointException.For(
                file.Path,
                $"the tensors end at byte {position}, the file has {file.Length} bytes.",
                DamagedRemedy);
        }
    }

    /// <summary>The formats that users have beside safetensors are told by their first bytes, so that the message can say what to do.</summary>
    private static void RefuseOtherFormats(MappedFile file)
    {
        ReadOnlySpan<byte> start = file.Span<byte>(0, LengthBytes);
        if (start.StartsWith("PK\u0003\u0004"u8) || (start[0] == 0x80 && start[1] is >= 2 and <= 5))
        {
            throw PickleFiles.Refuse(file.Path);
        }

        if (start.StartsWith("GGUF"u8))
        {
            throw CheckpointException.For(file.Path, "this is a GGUF file.", "Use the checkpoint that it was made from, in safetensors format.");
        }

        if (start.StartsWith("version "u8))
        {
            throw CheckpointException.For(
                file.Path, "this is a Git LFS pointer, not the file itself.", "Run 'git lfs pull' in the checkpoint's folder.");
        }
    }
}
