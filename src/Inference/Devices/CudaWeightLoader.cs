using KernelGen.Backends.Cuda;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using KernelGen.Kernels.Specs;
using KernelGen.Quantization;

namespace KernelGen.Inference.Devices;

/// <summary>
/// Brings parameters to a device in blocks: read into pinned memory, copied, and quantized there by the kernels that quantize activations, whose bits are
/// the processor's. Host memory is two blocks, whatever the size of the model.
/// </summary>
internal sealed unsafe class CudaWeightLoader : IDisposable
{
    private readonly CudaContext _context;
    private readonly CudaStream _stream;
    private readonly DecoderWeights _weights;
    private readonly CudaInt8MatMul _quantizer;
    private readonly Staging[] _staging;
    private int _turn;

    public CudaWeightLoader(CudaContext context, CudaStream stream, DecoderWeights weights)
    {
        _context = context;
        _stream = stream;
        _weights = weights;
        _quantizer = new CudaInt8MatMul(context, AbsmaxVector.Kernels.Spec, AbsmaxVector.Kernels.CudaVariants);
        _staging = new Staging[DeviceMemoryPlan.StagingBuffers];
        for (int i = 0; i < _staging.Length; i++)
        {
            _staging[i] = new Staging(context);
        }
    }

    /// <summary>Bytes that were copied to the device.</summary>
    public long BytesCopied { get; private set; }

    /// <summary>Loads a matrix.</summary>
    /// <exception cref="CheckpointException">A weight is not finite, a file cannot be read, or layers of one matrix are stored in types that cannot be mixed.</exception>
    public CudaMatrixWeights Load(MatrixPlan plan, DeviceScheme scheme)
    {
        CudaMatrixWeights matrix = new(plan, scheme.IsInt8, _context, _stream);
        try
        {
            CudaBuffer? originals = scheme is { IsInt8: true, KeepsOriginals: true } ? MakeOriginals(matrix) : null;
            float[] steps = new float[plan.OutputFeatures];
            foreach (RowRun run in plan.Runs)
            {
                LoadRun(matrix, run, originals, steps);
                if (_weights.BiasOf(run.Source) is { } bias)
                {
                    matrix.UploadBias(bias.AsSpan(run.SourceRow, run.Rows), run.TargetRow, _stream);
                }
            }

            if (matrix.Int8 is not null)
            {
                CheckSteps(matrix, steps);
            }

            _stream.Synchronize();
            return matrix;
        }
        catch
        {
            matrix.Dispose();
            throw;
        }
    }

    /// <summary>Loads a table of embeddings in float16.</summary>
    public CudaBuffer LoadTable(EmbeddingDescription table, bool isOutput = false)
    {
        long rowBytes = (long)table.Size * sizeof(ushort);
        int rowsAtOnce = (int)(DeviceMemoryPlan.StagingBytes / rowBytes);
        CudaBuffer buffer = new(_context, table.Rows * rowBytes);
        try
        {
            for (int first = 0; first < table.Rows; first += rowsAtOnce)
            {
                int count = Math.Min(rowsAtOnce, table.Rows - first);
                Staging staging = Next();
                _weights.ReadTable(table, isOutput, first, count, (Half*)staging.Pointer);
                Copy(staging, buffer, first * rowBytes, count * rowBytes);
                staging.Used.Record(_stream);
            }

            _stream.Synchronize();
            return buffer;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        // What is still being copied reads the pinned memory.
        if (_context.TryUse())
        {
            _context.Synchronize();
        }

        foreach (Staging staging in _staging)
        {
            staging?.Dispose();
        }

        _quantizer.Dispose();
    }

    private CudaBuffer? MakeOriginals(CudaMatrixWeights matrix)
    {
        ElementFormat?[] formats = [.. matrix.Plan.Runs.Select(run => _weights.FormatOf(run.Source)).Distinct()];
        if (formats.Contains(null))
        {
            // An int8 checkpoint has no originals: they are dequantized, as bitsandbytes always does.
            return null;
        }

        if (formats.Length > 1)
        {
            throw new CheckpointException(
                $"{matrix.Plan.Name}: these layers are one matrix on the device, but stored in different types ({string.Join(", ", formats)}). Use the scheme llm-int8-dequantized-outliers, or save the checkpoint in one type.");
        }

        int size = formats[0] == ElementFormat.Float32 ? sizeof(float) : sizeof(ushort);
        CudaBuffer originals = new(_context, (long)matrix.Plan.OutputFeatures * matrix.Plan.InputFeatures * size);
        matrix.Int8!.UseOriginals(originals, formats[0]!.Value, matrix.Plan.InputFeatures);
        return originals;
    }

    private void LoadRun(CudaMatrixWeights matrix, RowRun run, CudaBuffer? originals, float[] steps)
    {
        LinearDescription layer = run.Source;
        ElementFormat? format = _weights.FormatOf(layer);
        int stored = _weights.StoredBytes(layer), k = layer.InputFeatures;
        if (format is null && matrix.Int8 is null)
        {
            throw new CheckpointException(
                $"{layer.Name}: the checkpoint holds it in int8, the scheme fp16 needs 16- or 32-bit weights. Use the checkpoint that it was converted from, or an int8 scheme.");
        }

        if (format is null)
        {
            IReadOnlyList<float> absmax = _weights.AbsmaxOf(layer);
            for (int i = 0; i < run.Rows; i++)
            {
                steps[run.TargetRow + i] = AbsmaxScaling.Step(absmax[run.SourceRow + i]);
            }
        }

        // The widest form of a row on its way: stored, or as int8 with its padding.
        int rowsAtOnce = DeviceMemoryPlan.StagingBytes / Math.Max(k * stored, matrix.Int8?.KPadded ?? 0);
        for (int first = 0; first < run.Rows; first += rowsAtOnce)
        {
            int count = Math.Min(rowsAtOnce, run.Rows - first), target = run.TargetRow + first;
            Staging staging = Next();
            _weights.ReadRows(layer, run.SourceRow + first, count, staging.Pointer);
            if (matrix.HalfBuffer is { } half)
            {
                CopyHalves(staging, half, layer, format!.Value, count, (long)target * k);
            }
            else if (format is { } floating)
            {
                (CudaBuffer buffer, long offset) = originals is null ? (staging.Device, 0) : (originals, (long)target * k * stored);
                Copy(staging, buffer, offset, (long)count * k * stored);
                _quantizer.QuantizeWeights(_stream, new CudaMatrix(buffer.Address + (ulong)offset, floating, k), count, matrix.Int8!, target);
            }
            else
            {
                CheckRange(layer, run.SourceRow + first, new ReadOnlySpan<sbyte>(staging.Pointer, count * k));
                Widen(staging.Pointer, count, k, matrix.Int8!.KPadded);
                Copy(staging, matrix.Int8.Quantized, (long)target * matrix.Int8.KPadded, (long)count * matrix.Int8.KPadded);
                matrix.Int8.Statistics.Upload<float>(steps.AsSpan(target, count), _stream, (long)target * sizeof(float));
            }

            staging.Used.Record(_stream);
        }
    }

    private void CopyHalves(Staging staging, CudaBuffer half, LinearDescription layer, ElementFormat format, int rows, long firstValue)
    {
        int count = rows * layer.InputFeatures;
        if (format != ElementFormat.Float16)
        {
            HalfConversion.Convert(format, staging.Pointer, (Half*)staging.Pointer, count, layer.Name);
        }

        Copy(staging, half, firstValue * sizeof(ushort), (long)count * sizeof(ushort));
    }

    private void Copy(Staging staging, CudaBuffer buffer, long offset, long bytes)
    {
        buffer.Upload(new ReadOnlySpan<byte>(staging.Pointer, (int)bytes), _stream, offset);
        BytesCopied += bytes;
    }

    /// <summary>Rows of K bytes, side by side, become rows of KPadded bytes with zeros at the end; from the last to the first, for it is done in place.</summary>
    private static void Widen(byte* rows, int count, int k, int kPadded)
    {
        for (int i = count - 1; i >= 0 && k != kPadded; i--)
        {
            byte* target = rows + ((long)i * kPadded);
            Buffer.MemoryCopy(rows + ((long)i * k), target, k, k);
            new Span<byte>(target + k, kPadded - k).Clear();
        }
    }

    private static void CheckRange(LinearDescription layer, int firstRow, ReadOnlySpan<sbyte> values)
    {
        int index = WeightRows.FindOutOfRange(values);
        if (index >= 0)
        {
            throw new CheckpointException(
                $"{layer.Name}: it has the value -128 at row {firstRow + (index / layer.InputFeatures)}, column {index % layer.InputFeatures}; quantized weights are -127 to 127. Repair the checkpoint.");
        }
    }

    /// <summary>A row whose step is NaN had a weight that is not finite.</summary>
    private void CheckSteps(CudaMatrixWeights matrix, float[] steps)
    {
        matrix.Int8!.Statistics.Download<float>(steps, _stream);
        int row = Array.FindIndex(steps, static step => !float.IsFinite(step));
        if (row >= 0)
        {
            RowRun run = matrix.Plan.Runs.First(run => row >= run.TargetRow && row < run.TargetRow + run.Rows);
            throw _weights.NotFinite(run.Source, run.SourceRow + row - run.TargetRow);
        }
    }

    /// <summary>The pair of buffers whose turn it is, once the device is done with it.</summary>
    private Staging Next()
    {
        Staging staging = _staging[_turn];
        _turn = (_turn + 1) % _staging.Length;
        staging.Used.Synchronize();
        return staging;
    }

    /// <summary>A pinned buffer, the device buffer that it is copied to, and when the device was done with both.</summary>
    private sealed class Staging : IDisposable
    {
        private readonly PinnedBuffer _host;

        public Staging(CudaContext context)
        {
            _host = new PinnedBuffer(context, DeviceMemoryPlan.StagingBytes);
            Device = new CudaBuffer(context, DeviceMemoryPlan.StagingBytes);
            Used = new CudaEvent(context);
        }

        public byte* Pointer => (byte*)_host.Value;

        public CudaBuffer Device { get; }

        public CudaEvent Used { get; }

        public void Dispose()
        {
            _host.Dispose();
            Device.Dispose();
            Used.Dispose();
        }
    }
}
