
namespace KernelGen.Backends.Cuda;

/// <summary>
/// An [N,K] matrix of int8 weights on a device: rows padded with zeros to whole K blocks, statistics padded to whole tiles.
/// </summary>
internal sealed class CudaInt8Weights : IDisposable
{
    public const int KBlock = 128, TilePadding = 256;

    /// <summary>Bytes of statistics per padded output feature.</summary>
    public const int StatisticsBytes = 8;

    private readonly CudaBuffer quantized;

    private readonly CudaBuffer statistics;

    private CudaBuffer? originals;

    private CudaBuffer? fixedMask;

    /// <summary>Room for a matrix; see <see cref="Upload(Int8Weights, CudaContext, CudaStream)"/>.</summary>
    public CudaInt8Weights(CudaContext context, CudaStream stream, int outputFeatures, int inputFeatures)
    {
        OutputFeatures = outputFeatures;
        InputFeatures = inputFeatures;
        KPadded = (inputFeatures + KBlock - 1) / KBlock * KBlock;
        Padded = (outputFeatures + TilePadding - 1) / TilePadding * TilePadding;
        quantized = new CudaBuffer(context, (long)outputFeatures * KPadded);
        try
        {
            statistics = new CudaBuffer(context, (long)Padded * StatisticsBytes);
        }
        catch
        {
            quantized.Dispose();
            throw;
        }

        statistics.Fill(0, stream);
    }

    /// <summary>N.</summary>
    public int OutputFeatures { get; }

    /// <summary>K.</summary>
    public int InputFeatures { get; }

    /// <summary>Bytes of a row.</summary>
    public int KPadded { get; }

    /// <summary>Entries of every statistic.</summary>
    public int Padded { get; }

    /// <summary>s8 [N, KPadded].</summary>
    public CudaBuffer Quantized => quantized;

    /// <summary>f32 [Padded], then s32 [Padded].</summary>
    public CudaBuffer Statistics => statistics;

    public ulong ColumnSteps => statistics.Address;

    public ulong WeightSums => statistics.Address + (ulong)((long)Padded * 4);

    /// <summary>16- or 32-bit weights of the outlier columns; 0 where they are dequantized.</summary>
    public ulong Originals => originals?.Address ?? 0;

    public ElementFormat OriginalFormat { get; private set; }

    public int OriginalStride { get; private set; }

    public bool OriginalsCompact { get; private set; }

    /// <summary>The mask of the calibrated columns; 0 where columns are found in the activations.</summary>
    public ulong FixedMask => fixedMask?.Address ?? 0;

    public long Bytes => quantized.Bytes + statistics.Bytes + (originals?.Bytes ?? 0) + (fixedMask?.Bytes ?? 0);

    /// <summary>Copies weights to the device, with the originals of their calibrated outlier columns.</summary>
    public static CudaInt8Weights Upload(Int8Weights weights, CudaContext context, CudaStream stream) => Upload(
        weights.OutputFeatures,
        weights.InputFeatures,
        weights.CopyQuantizedRow,
        row => weights.Absmax[row],
        weights.FixedOutlierColumns.ToArray(),
        (column, values) => weights.ReadOutlierColumn(column, 0, values),
        context,
        stream);

    /// <summary>Copies weights that are int8 already to the device.</summary>
    /// <param name="source">The weights.</param>
    /// <param name="fixedColumns">The calibrated outlier columns, ascending, whose weights are kept as the source gives them.</param>
    /// <param name="context">The device.</param>
    /// <param name="stream">Takes the copies.</param>
    public static CudaInt8Weights Upload(QuantizedWeightSource source, int[] fixedColumns, CudaContext context, CudaStream stream) => Upload(
        source.Rows, source.Columns, source.ReadQuantizedRow, source.Absmax, fixedColumns, (column, values) => source.ReadColumn(column, 0, values), context, stream);

    /// <summary>Copies weights that are on the device already.</summary>
    public CudaInt8Weights Copy(CudaContext context, CudaStream stream)
    {
        CudaInt8Weights copy = new(context, stream, OutputFeatures, InputFeatures);
        copy.quantized.CopyFrom(quantized, quantized.Bytes, stream);
        copy.statistics.CopyFrom(statistics, statistics.Bytes, stream);
        if (originals is not null && fixedMask is not null)
        {
            copy.originals = new CudaBuffer(context, originals.Bytes);
            copy.originals.CopyFrom(originals, originals.Bytes, stream);
            copy.fixedMask = new CudaBuffer(context, fixedMask.Bytes);
            copy.fixedMask.CopyFrom(fixedMask, fixedMask.Bytes, stream);
            (copy.OriginalFormat, copy.OriginalStride, copy.OriginalsCompact) = (OriginalFormat, OriginalStride, OriginalsCompact);
        }

        return copy;
    }

    /// <summary>Original weights of every column, [N, stride] on the device; the caller's buffer must outlive the weights' use.</summary>
    public void UseOriginals(CudaBuffer buffer, ElementFormat format, int stride)
    {
        originals = buffer;
        (OriginalFormat, OriginalStride, OriginalsCompact) = (format, stride, false);
    }

    public void Dispose()
    {
        quantized.Dispose();
        statistics.Dispose();
        originals?.Dispose();
        fixedMask?.Dispose();
    }

    private delegate void RowReader(int row, Span<sbyte> destination);

    private delegate void ColumnReader(int column, Span<float> destination);

    private static CudaInt8Weights Upload(
        int n, int k, RowReader readRow, Func<int, float> absmax, int[] fixedColumns, ColumnReader readColumn, CudaContext context, CudaStream stream)
    {
        CudaInt8Weights result = new(context, stream, n, k);
        try
        {
            int rowsAtOnce = Math.Max(1, (1 << 22) / result.KPadded);
            sbyte[] rows = new sbyte[rowsAtOnce * result.KPadded];
            int[] sums = new int[result.Padded];
            float[] steps = new float[result.Padded];
            for (int first = 0; first < n; first += rowsAtOnce)
            {
                int count = Math.Min(rowsAtOnce, n - first);
                for (int i = 0; i < count; i++)
                {
                    Span<sbyte> row = rows.AsSpan(i * result.KPadded, k);
                    readRow(first + i, row);
                    sums[first + i] = Quantization.WeightRows.Sum(row);
                    steps[first + i] = Quantization.AbsmaxScaling.Step(absmax(first + i));
                }

                result.quantized.Upload<sbyte>(rows.AsSpan(0, count * result.KPadded), stream, (long)first * result.KPadded);
            }

            result.statistics.Upload<float>(steps, stream);
            result.statistics.Upload<int>(sums, stream, (long)result.Padded * 4);
            if (fixedColumns.Length > 0)
            {
                result.KeepOriginals(fixedColumns, readColumn, context, stream);
            }

            stream.Synchronize();
            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The calibrated columns' original weights, [N, columns] in float32: 16-bit originals widen exactly, so nothing is lost whatever their type.
    /// </summary>
    private void KeepOriginals(int[] columns, ColumnReader readColumn, CudaContext context, CudaStream stream)
    {
        int n = OutputFeatures;
        float[] values = new float[n * columns.Length], column = new float[n];
        uint[] mask = new uint[KPadded / 32];
        for (int i = 0; i < columns.Length; i++)
        {
            mask[columns[i] / 32] |= 1u << (columns[i] % 32);
            readColumn(columns[i], column);
            for (int row = 0; row < n; row++)
            {
                values[(row * columns.Length) + i] = column[row];
            }
        }

        originals = new CudaBuffer(context, (long)values.Length * sizeof(float));
        fixedMask = new CudaBuffer(context, (long)mask.Length * sizeof(uint));
        originals.Upload<float>(values, stream);
        fixedMask.Upload<uint>(mask, stream);
        (OriginalFormat, OriginalStride, OriginalsCompact) = (ElementFormat.Float32, columns.Length, true);
    }
}
