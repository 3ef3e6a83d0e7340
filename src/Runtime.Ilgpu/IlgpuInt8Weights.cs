using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using Half = System.Half;

namespace KernelGen;

/// <summary>
/// An [N,K] matrix of int8 weights on an accelerator: rows padded with zeros to whole K blocks, statistics padded to whole tiles. Dispose it before the accelerator.
/// </summary>
public sealed class IlgpuInt8Weights : IDisposable
{
    internal const int KBlock = 128, TilePadding = 256;

    private readonly List<MemoryBuffer> buffers = [];

    private IlgpuInt8Weights(IlgpuAccelerator accelerator, string name, int outputFeatures, int inputFeatures)
    {
        Accelerator = accelerator;
        Name = name;
        OutputFeatures = outputFeatures;
        InputFeatures = inputFeatures;
        KWords = (inputFeatures + KBlock - 1) / KBlock * KBlock / 4;
        Padded = (outputFeatures + TilePadding - 1) / TilePadding * TilePadding;
        Quantized = Own(accelerator.Allocate<int>((long)outputFeatures * KWords, "int8 weights"));
        ColumnSteps = Own(accelerator.Allocate<float>(Padded, "weight statistics"));
        WeightSums = Own(accelerator.Allocate<int>(Padded, "weight statistics"));
        Originals = Mask = FixedOutliers = Quantized;
    }

    /// <summary>What error messages call the matrix.</summary>
    public string Name { get; }

    /// <summary>N.</summary>
    public int OutputFeatures { get; }

    /// <summary>K.</summary>
    public int InputFeatures { get; }

    /// <summary>Bytes of the accelerator's memory.</summary>
    public long Bytes => buffers.Sum(buffer => buffer.LengthInBytes);

    internal IlgpuAccelerator Accelerator { get; }

    /// <summary>Words of a row.</summary>
    internal int KWords { get; }

    /// <summary>Entries of every statistic.</summary>
    internal int Padded { get; }

    internal MemoryBuffer1D<int, Stride1D.Dense> Quantized { get; }

    internal MemoryBuffer1D<float, Stride1D.Dense> ColumnSteps { get; }

    internal MemoryBuffer1D<int, Stride1D.Dense> WeightSums { get; }

    /// <summary>Original weights; where there are none, a buffer that is never read.</summary>
    internal MemoryBuffer1D<int, Stride1D.Dense> Originals { get; private set; }

    internal ElementFormat OriginalFormat { get; private set; }

    /// <summary>0 where int8 weights are dequantized instead.</summary>
    internal int OriginalStride { get; private set; }

    internal bool OriginalsCompact { get; private set; }

    /// <summary>The bits of the calibrated columns, and their list; only where <see cref="HasFixedOutliers"/>.</summary>
    internal MemoryBuffer1D<int, Stride1D.Dense> Mask { get; private set; }

    internal MemoryBuffer1D<int, Stride1D.Dense> FixedOutliers { get; private set; }

    internal bool HasFixedOutliers { get; private set; }

    /// <summary>Copies weights to an accelerator, with the originals of their calibrated outlier columns.</summary>
    /// <param name="accelerator">Where to.</param>
    /// <param name="weights">What <see cref="Int8KernelSet"/> quantized.</param>
    /// <param name="originals">
    /// The 16- or 32-bit weights, for outlier columns that are found in the activations, as in the paper: all of them lie in device memory. Null
    /// to dequantize the int8 weights instead, as bitsandbytes does.
    /// </param>
    /// <returns>The weights; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">The originals have another shape, or come beside calibrated columns.</exception>
    /// <exception cref="IlgpuException">The device's memory does not suffice.</exception>
    public static IlgpuInt8Weights Upload(IlgpuAccelerator accelerator, Int8Weights weights, WeightSource? originals = null)
    {
        ArgumentNullException.ThrowIfNull(accelerator);
        ArgumentNullException.ThrowIfNull(weights);
        if (originals is not null && (originals.Rows != weights.OutputFeatures || originals.Columns != weights.InputFeatures || weights.FixedOutlierColumns.Length > 0))
        {
            throw new ArgumentException(
                $"'{originals.Name}' has [{originals.Rows},{originals.Columns}] weights, '{weights.Name}' has [{weights.OutputFeatures},{weights.InputFeatures}]"
                + $" and {weights.FixedOutlierColumns.Length} calibrated columns, which have their originals with them.",
                nameof(originals));
        }

        IlgpuInt8Weights result = new(accelerator, weights.Name, weights.OutputFeatures, weights.InputFeatures);
        try
        {
            IlgpuAccelerator.Guard($"Copying '{weights.Name}' to {accelerator.Device}", () =>
            {
                result.UploadQuantized(weights);
                if (weights.FixedOutlierColumns.Length > 0)
                {
                    result.UploadFixed(weights);
                }

                if (originals is not null)
                {
                    result.UploadOriginals(originals);
                }

                accelerator.Stream.Synchronize();
            });
            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    /// <summary>Weights of all int8 values, to measure with.</summary>
    internal static IlgpuInt8Weights OfNoise(IlgpuAccelerator accelerator, int outputFeatures, int inputFeatures, int seed)
    {
        IlgpuInt8Weights result = new(accelerator, "noise", outputFeatures, inputFeatures);
        Random random = new(seed);
        byte[] noise = new byte[result.Quantized.LengthInBytes];
        random.NextBytes(noise);
        noise.AsSpan().Replace((byte)0x80, (byte)1);
        accelerator.Upload(result.Quantized, MemoryMarshal.Cast<byte, int>(noise));
        accelerator.Upload<float>(result.ColumnSteps, [.. Enumerable.Range(0, result.Padded).Select(_ => 1e-4f * random.NextSingle())]);
        result.WeightSums.MemSetToZero(accelerator.Stream);
        accelerator.Synchronize();
        return result;
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        foreach (MemoryBuffer buffer in buffers)
        {
            buffer.Dispose();
        }

        buffers.Clear();
    }

    private T Own<T>(T buffer)
        where T : MemoryBuffer
    {
        buffers.Add(buffer);
        return buffer;
    }

    private void UploadQuantized(Int8Weights weights)
    {
        int n = OutputFeatures, rowsAtOnce = Math.Max(1, (1 << 20) / KWords);
        sbyte[] rows = new sbyte[Math.Min(rowsAtOnce, n) * KWords * 4];
        int[] sums = new int[Padded];
        float[] steps = new float[Padded];
        for (int first = 0; first < n; first += rowsAtOnce)
        {
            int count = Math.Min(rowsAtOnce, n - first);
            for (int i = 0; i < count; i++)
            {
                Span<sbyte> row = rows.AsSpan(i * KWords * 4, InputFeatures);
                weights.CopyQuantizedRow(first + i, row);
                foreach (sbyte value in row)
                {
                    sums[first + i] += value;
                }

                steps[first + i] = Quantization.AbsmaxScaling.Step(weights.Absmax[first + i]);
            }

            Accelerator.Upload(Quantized, MemoryMarshal.Cast<sbyte, int>(rows.AsSpan(0, count * KWords * 4)), (long)first * KWords);
            Accelerator.Stream.Synchronize();
        }

        Accelerator.Upload<float>(ColumnSteps, steps);
        Accelerator.Upload<int>(WeightSums, sums);
        Accelerator.Stream.Synchronize();
    }

    /// <summary>The calibrated columns' original weights, [N, columns] in float32: 16-bit originals widen exactly.</summary>
    private void UploadFixed(Int8Weights weights)
    {
        int[] columns = [.. weights.FixedOutlierColumns];
        int n = OutputFeatures;
        float[] values = new float[n * columns.Length], column = new float[n];
        int[] mask = new int[KWords / 8];
        for (int i = 0; i < columns.Length; i++)
        {
            mask[columns[i] / 32] |= 1 << (columns[i] % 32);
            weights.ReadOutlierColumn(columns[i], 0, column);
            for (int row = 0; row < n; row++)
            {
                values[(row * columns.Length) + i] = column[row];
            }
        }

        Originals = Own(Accelerator.Allocate<int>(values.Length, "original outlier weights"));
        Mask = Own(Accelerator.Allocate<int>(mask.Length, "outlier columns"));
        FixedOutliers = Own(Accelerator.Allocate<int>(columns.Length + 1, "outlier columns"));
        Accelerator.Upload(Originals, MemoryMarshal.Cast<float, int>(values));
        Accelerator.Upload<int>(Mask, mask);
        Accelerator.Upload<int>(FixedOutliers, [columns.Length, .. columns]);
        Accelerator.Stream.Synchronize();
        (OriginalFormat, OriginalStride, OriginalsCompact, HasFixedOutliers) = (ElementFormat.Float32, columns.Length, true, true);
    }

    private void UploadOriginals(WeightSource source)
    {
        OriginalFormat = source.ElementType == typeof(Half) ? ElementFormat.Float16 : source.ElementType == typeof(BFloat16) ? ElementFormat.BFloat16 : ElementFormat.Float32;
        int elementBytes = OriginalFormat == ElementFormat.Float32 ? 4 : 2, stride = (InputFeatures + 1) / 2 * 2;
        Originals = Own(Accelerator.Allocate<int>((long)OutputFeatures * stride * elementBytes / 4, "original weights"));
        int rowsAtOnce = Math.Max(1, (1 << 22) / (stride * elementBytes));
        float[] row = new float[InputFeatures];
        byte[] rows = new byte[Math.Min(rowsAtOnce, OutputFeatures) * stride * elementBytes];
        for (int first = 0; first < OutputFeatures; first += rowsAtOnce)
        {
            int count = Math.Min(rowsAtOnce, OutputFeatures - first);
            for (int i = 0; i < count; i++)
            {
                source.ReadRow(first + i, row);
                Narrow(row, rows.AsSpan(i * stride * elementBytes, InputFeatures * elementBytes));
            }

            Accelerator.Upload(Originals, MemoryMarshal.Cast<byte, int>(rows.AsSpan(0, count * stride * elementBytes)), (long)first * stride * elementBytes / 4);
            Accelerator.Stream.Synchronize();
        }

        OriginalStride = stride;
    }

    /// <summary>Back to the source's type, which loses nothing.</summary>
    private void Narrow(ReadOnlySpan<float> row, Span<byte> destination)
    {
        switch (OriginalFormat)
        {
            case ElementFormat.Float16:
                Quantization.Elements.FromSingle(row, MemoryMarshal.Cast<byte, Half>(destination));
                break;
            case ElementFormat.BFloat16:
                Quantization.Elements.FromSingle(row, MemoryMarshal.Cast<byte, BFloat16>(destination));
                break;
            default:
                Quantization.Elements.FromSingle(row, MemoryMarshal.Cast<byte, float>(destination));
                break;
        }
    }
}
