using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using KernelGen.Quantization;

namespace KernelGen.Inference.Devices;

/// <summary>The parameters of a checkpoint.</summary>
internal sealed unsafe class CheckpointWeights : DecoderWeights
{
    /// <summary>Columns of a transposed matrix that are gathered at a time: pieces of some kilobytes of every stored row.</summary>
    private const int GatheredColumns = 1024;

    private readonly Checkpoint _checkpoint;
    private readonly TensorReader _reader = new();
    private readonly string _prefix;
    private byte[] _scratch = [];

    public CheckpointWeights(string path, DecoderDescription description)
    {
        _checkpoint = Checkpoint.Open(path);
        try
        {
            _prefix = CheckpointTensors.PrefixOf(_checkpoint, description);
        }
        catch
        {
            _checkpoint.Dispose();
            throw;
        }
    }

    public override ElementFormat? FormatOf(LinearDescription layer)
    {
        TensorInfo info = Info(_prefix + layer.Name + Int8TensorNames.Weight);
        bool isInt8 = info.Type == TensorType.I8;
        (int rows, int columns) = layer.IsTransposed && !isInt8 ? (layer.InputFeatures, layer.OutputFeatures) : (layer.OutputFeatures, layer.InputFeatures);
        RequireShape(info, rows, columns);
        return isInt8 ? null : FormatOf(info);
    }

    public override void ReadRows(LinearDescription layer, int firstRow, int rows, byte* destination)
    {
        TensorInfo info = Info(_prefix + layer.Name + Int8TensorNames.Weight);
        long rowBytes = (long)layer.InputFeatures * StoredBytes(layer);
        if (layer.IsTransposed && info.Type != TensorType.I8)
        {
            for (int first = 0; first < rows; first += GatheredColumns)
            {
                int count = Math.Min(GatheredColumns, rows - first);
                Gather(info, layer, firstRow + first, count, destination + (first * rowBytes));
            }

            return;
        }

        _reader.Read(info, firstRow * rowBytes, rows * rowBytes, destination);
    }

    public override IReadOnlyList<float> AbsmaxOf(LinearDescription layer) =>
        StoredInt8.Read(_checkpoint, _prefix + layer.Name, layer.OutputFeatures, layer.InputFeatures).Absmax;

    public override float[]? BiasOf(LinearDescription layer) =>
        layer.HasBias ? _checkpoint.ReadSingles(_prefix + layer.Name + ".bias", layer.OutputFeatures) : null;

    public override (float[]? Weight, float[]? Bias) NormOf(NormDescription norm) => (
        norm.IsAffine ? _checkpoint.ReadSingles(_prefix + norm.Name + ".weight", norm.Size) : null,
        norm.HasBias ? _checkpoint.ReadSingles(_prefix + norm.Name + ".bias", norm.Size) : null);

    public override void ReadTable(EmbeddingDescription table, bool isOutput, int firstRow, int rows, Half* destination)
    {
        TensorInfo info = Info(isOutput ? table.Name : _prefix + table.Name);
        RequireShape(info, table.Rows, table.Size);
        ElementFormat format = FormatOf(info);
        int size = format == ElementFormat.Float32 ? sizeof(float) : sizeof(ushort), count = checked(rows * table.Size);
        long offset = (long)firstRow * table.Size * size;
        if (format == ElementFormat.Float16)
        {
            _reader.Read(info, offset, (long)count * size, (byte*)destination);
            return;
        }

        Span<byte> stored = Scratch(checked(count * size));
        fixed (byte* pointer = stored)
        {
            _reader.Read(info, offset, stored.Length, pointer);
            HalfConversion.Convert(format, pointer, destination, count, info.Name);
        }
    }

    public override Exception NotFinite(LinearDescription layer, int row)
    {
        TensorInfo info = Info(_prefix + layer.Name + Int8TensorNames.Weight);
        byte[] stored = new byte[layer.InputFeatures * StoredBytes(layer)];
        float[] values = new float[layer.InputFeatures];
        fixed (byte* pointer = stored)
        {
            ReadRows(layer, row, 1, pointer);
            HalfConversion.Widen(FormatOf(info), pointer, values);
        }

        try
        {
            _ = WeightRows.Absmax<float>(info.Name, row, values);
        }
        catch (ArgumentException exception)
        {
            return CheckpointException.For(info.File, info.Name, $"it cannot be quantized: {exception.Message}", "Use another checkpoint or scheme.");
        }

        return CheckpointException.For(
            info.File, info.Name, $"row {row} was not finite when it was quantized, and is now.", "The file changed, or the device is at fault: load it again.");
    }

    public override void Dispose()
    {
        _reader.Dispose();
        _checkpoint.Dispose();
    }

    private static ElementFormat FormatOf(TensorInfo info) => info.Type switch
    {
        TensorType.F16 => ElementFormat.Float16,
        TensorType.BF16 => ElementFormat.BFloat16,
        TensorType.F32 => ElementFormat.Float32,
        _ => throw CheckpointException.For(
            info.File, info.Name, $"its values are {info.Type.HeaderName()}, F32, F16, BF16 or, for a linear layer, I8 was expected.", "Convert the checkpoint to float16 or bfloat16."),
    };

    private static void RequireShape(TensorInfo info, int rows, int columns)
    {
        if (!info.Shape.AsSpan().SequenceEqual([rows, columns]))
        {
            throw CheckpointException.For(
                info.File, info.Name, $"its shape is {info.ShapeText}, [{rows}, {columns}] was expected.", "Check that config.json belongs to this checkpoint.");
        }
    }

    /// <summary>Columns of a matrix that is stored as [K,N] become rows.</summary>
    private void Gather(TensorInfo info, LinearDescription layer, int first, int count, byte* destination)
    {
        int size = StoredBytes(layer), k = layer.InputFeatures, n = layer.OutputFeatures;
        int pieceBytes = count * size;
        Span<byte> pieces = Scratch(checked(k * pieceBytes));
        fixed (byte* pointer = pieces)
        {
            byte* source = pointer;
            TensorReader.Run(k, row => _reader.Read(info, (((long)row * n) + first) * size, pieceBytes, source + ((long)row * pieceBytes)));
            _ = Parallel.For(0, count, column =>
            {
                for (int row = 0; row < k; row++)
                {
                    byte* from = source + ((long)row * pieceBytes) + ((long)column * size);
                    byte* to = destination + ((((long)column * k) + row) * size);
                    if (size == sizeof(ushort))
                    {
                        *(ushort*)to = *(ushort*)from;
                    }
                    else
                    {
                        *(uint*)to = *(uint*)from;
                    }
                }
            });
        }
    }

    private Span<byte> Scratch(int bytes)
    {
        if (_scratch.Length < bytes)
        {
            _scratch = GC.AllocateUninitializedArray<byte>(bytes);
        }

        return _scratch.AsSpan(0, bytes);
    }

    private TensorInfo Info(string name) => _checkpoint.Get(name).Info;
}
