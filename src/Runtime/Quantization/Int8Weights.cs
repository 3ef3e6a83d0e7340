using System.Globalization;
using KernelGen.Backends.Cpu;
using KernelGen.Kernels;
using KernelGen.Quantization;

namespace KernelGen;

/// <summary>
/// An [N,K] matrix of int8 weights with their absmax statistics, packed for the kernels of the set that quantized it.
/// </summary>
/// <remarks>
/// Thread-safe: the weights never change, any number of threads may multiply by them at once, and any thread may dispose them. What is running
/// then ends undisturbed, and frees the memory when it is the last; what begins later throws an <see cref="ObjectDisposedException"/>.
/// </remarks>
public sealed class Int8Weights : IDisposable
{
    private readonly float[] _absmax;

    private readonly OutlierColumnStore? _outlierColumns;

    private Int8Weights(
        Int8Spec spec, WeightSource source, WeightPanels[] slices, float[] absmax, OutlierWeights outlierWeights, int[] fixedColumns)
    {
        Name = source.Name;
        OutputFeatures = source.Rows;
        InputFeatures = source.Columns;
        Slices = slices;
        _absmax = absmax;
        FixedColumns = fixedColumns;
        int padded = slices[0].PanelCount * Family.PanelWidth;
        ColumnScales = new float[padded];
        WeightSums = new int[padded];
        _outlierColumns = spec.Outliers switch
        {
            OutlierPolicy.None => null,
            OutlierPolicy.Fixed => new OutlierColumnStore(source, fixedColumns.Length),
            _ when outlierWeights == OutlierWeights.Original && source is not QuantizedWeightSource =>
                new OutlierColumnStore(source, Math.Max(64, InputFeatures / 8)),

            // As many columns as come back in every batch, for a sixty-fourth of the memory or less; of others, a panel that was just multiplied is in the cache.
            _ => new OutlierColumnStore(new PackedWeightSource(this), Math.Max(Family.PairLimit > 0 ? 32 : 8, InputFeatures / 64)),
        };
    }

    private Int8Weights(Int8Weights other)
    {
        Name = other.Name;
        OutputFeatures = other.OutputFeatures;
        InputFeatures = other.InputFeatures;
        Slices = [.. other.Slices.Select(static slice => slice.Copy())];
        _absmax = other._absmax;
        FixedColumns = other.FixedColumns;
        ColumnScales = other.ColumnScales;
        WeightSums = other.WeightSums;
        _outlierColumns = other._outlierColumns;
    }

    /// <summary>What error messages call the matrix.</summary>
    public string Name { get; }

    /// <summary>N.</summary>
    public int OutputFeatures { get; }

    /// <summary>K.</summary>
    public int InputFeatures { get; }

    /// <summary>
    /// The absmax of every output feature, the <c>SCB</c> of bitsandbytes: [N], all equal where the weights have one scale.
    /// </summary>
    public ReadOnlySpan<float> Absmax => _absmax;

    /// <summary>Bytes in memory: the packed int8 weights, statistics, and the outlier columns kept so far.</summary>
    public long Bytes => Slices.Sum(slice => slice.Bytes) + ((long)ColumnScales.Length * 2 * sizeof(float)) + (_absmax.Length * sizeof(float)) + (_outlierColumns?.Bytes ?? 0);

    /// <summary>The calibrated outlier columns, ascending; empty unless the policy is <see cref="OutlierPolicy.Fixed"/>.</summary>
    public ReadOnlySpan<int> FixedOutlierColumns => FixedColumns;

    /// <summary>The kernels that the weights are packed for.</summary>
    internal CpuKernelFamily Family => Slices[0].Family;

    /// <summary>The packed weights by ascending K; one slice unless K is longer than 32-bit sums may be.</summary>
    internal WeightPanels[] Slices { get; }

    /// <summary>absmax / 127 per output feature, padded with zeros to whole panels.</summary>
    internal float[] ColumnScales { get; }

    /// <summary>The sum of every output feature's int8 weights, padded with zeros to whole panels.</summary>
    internal int[] WeightSums { get; }

    internal int[] FixedColumns { get; }

    /// <summary>Copies one output feature's quantized weights, the <c>CB</c> row of bitsandbytes.</summary>
    /// <param name="row">The output feature, 0 to N - 1.</param>
    /// <param name="destination">K values.</param>
    /// <exception cref="ArgumentException">The destination is not K long.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The row does not exist.</exception>
    /// <exception cref="ObjectDisposedException">The weights are disposed.</exception>
    public void CopyQuantizedRow(int row, Span<sbyte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, OutputFeatures);
        if (destination.Length != InputFeatures)
        {
            throw new ArgumentException($"The destination has room for {destination.Length} values, a row has {InputFeatures}.", nameof(destination));
        }

        using Usage usage = Use();
        foreach (WeightPanels slice in Slices)
        {
            slice.ReadRow(row, destination.Slice(slice.FirstColumn, slice.Columns));
        }
    }

    /// <summary>Frees the weights. A multiplication that is running ends undisturbed; later ones are refused.</summary>
    public void Dispose()
    {
        foreach (WeightPanels slice in Slices)
        {
            slice.Dispose();
        }
    }

    /// <summary>The same weights elsewhere in memory, which the caller disposes; columns that were outliers are shared with these, which must live on.</summary>
    internal Int8Weights Copy() => new(this);

    /// <summary>Prepares a column for repeated <see cref="ReadOutlierColumn"/>.</summary>
    internal void KeepOutlierColumn(int column) => _outlierColumns!.Keep(column);

    /// <summary>How many of the pairs of neighbouring weights packing had to reduce, of all; see <see cref="PairCorrections"/>.</summary>
    internal double ReducedPairs => Slices.Sum(slice => slice.Corrections?.Count ?? 0) / (0.5 * OutputFeatures * InputFeatures);

    /// <summary>A column's weights for some output features, from the first of a panel on: the originals where kept, else dequantized.</summary>
    internal void ReadOutlierColumn(int column, int firstRow, Span<float> destination) => _outlierColumns!.Read(column, firstRow, destination);

    /// <summary>Keeps the memory while a function uses it.</summary>
    /// <exception cref="ObjectDisposedException">The weights are disposed.</exception>
    internal Usage Use() => new(this);

    internal static Int8Weights Quantize(
        Int8Spec spec, CpuKernelFamily family, WeightSource source, WeightQuantizationOptions options, CancellationToken cancellation)
    {
        if (source.Columns > spec.MaxK)
        {
            throw new ArgumentException(
                string.Create(CultureInfo.InvariantCulture, $"'{source.Name}' has K = {source.Columns}; sums of more than {spec.MaxK} products can overflow. ")
                    + (spec.Accumulation == Accumulation.Int32 ? "Set Accumulation = Accumulation.Int64 on the kernel class." : "Split the matrix along K."),
                nameof(source));
        }

        // The set that was calibrated for a checkpoint may be stored in it.
        IReadOnlyList<int>? chosen = options.FixedOutlierColumns
            ?? (spec.Outliers == OutlierPolicy.Fixed && source is QuantizedWeightSource { OriginalColumns: { Count: > 0 } stored } ? stored : null);
        int[] fixedColumns = CheckFixedColumns(spec, source, chosen);
        int rows = source.Rows, k = source.Columns;
        float[] absmax = new float[rows];
        cancellation.ThrowIfCancellationRequested();
        RowQuantizer quantizer = RowQuantizer.For(source, spec, options.MaxDegreeOfParallelism);
        Int8Weights weights = new(spec, source, SliceColumns(spec, family, rows, k), absmax, options.OutlierWeights, fixedColumns);
        try
        {
            weights.Fill(quantizer, options.MaxDegreeOfParallelism, cancellation);
        }
        catch
        {
            weights.Dispose();
            throw;
        }

        return weights;
    }

    /// <summary>Quantizes and packs every row, and keeps the columns of a fixed set.</summary>
    private void Fill(RowQuantizer quantizer, int maxDegreeOfParallelism, CancellationToken cancellation)
    {
        int rows = OutputFeatures, k = InputFeatures, width = Family.PanelWidth;
        CpuParallel.ForRanges(Slices[0].PanelCount, grain: 1 + (100_000 / (width * k)), maxDegreeOfParallelism, (first, end) =>
        {
            float[] row = new float[k];
            sbyte[] quantized = new sbyte[width * k];
            for (int panel = first; panel < end; panel++)
            {
                cancellation.ThrowIfCancellationRequested();
                int start = panel * width, count = Math.Min(width, rows - start);
                for (int i = 0; i < count; i++)
                {
                    Span<sbyte> q = quantized.AsSpan(i * k, k);
                    _absmax[start + i] = quantizer.Quantize(start + i, row, q);
                    ColumnScales[start + i] = AbsmaxScaling.Step(_absmax[start + i]);
                    WeightSums[start + i] = WeightRows.Sum(q);
                }

                foreach (WeightPanels slice in Slices)
                {
                    slice.Pack(panel, quantized.AsSpan(0, count * k), k);
                }
            }
        });
        foreach (WeightPanels slice in Slices)
        {
            slice.Complete();
        }

        foreach (int column in FixedColumns)
        {
            KeepOutlierColumn(column);
        }

        if (FixedColumns.Length > 0)
        {
            // A fixed set is whole now: the original weights are not needed any more.
            _outlierColumns!.ReleaseSource();
        }
    }

    private static WeightPanels[] SliceColumns(Int8Spec spec, CpuKernelFamily family, int rows, int k)
    {
        // Slices are whole cache lines of activations, so that each starts at a K group of every format.
        int longest = KernelLimits.MaxK(spec.Activations);
        int sliceColumns = k <= longest ? k : longest & ~63;
        return [.. Enumerable.Range(0, ((k - 1) / sliceColumns) + 1)
            .Select(i => new WeightPanels(family, rows, i * sliceColumns, Math.Min(sliceColumns, k - (i * sliceColumns))))];
    }

    private static int[] CheckFixedColumns(Int8Spec spec, WeightSource source, IReadOnlyList<int>? columns)
    {
        if (spec.Outliers != OutlierPolicy.Fixed)
        {
            return columns is null
                ? []
                : throw new ArgumentException($"A fixed outlier set was given for '{source.Name}', but the kernels' policy is {spec.Outliers}; use OutlierPolicy.Fixed.", nameof(columns));
        }

        if (columns is null)
        {
            throw new ArgumentException($"OutlierPolicy.Fixed needs a calibrated set of columns for '{source.Name}': set WeightQuantizationOptions.FixedOutlierColumns.", nameof(columns));
        }

        int[] sorted = [.. columns.Order()];
        for (int i = 0; i < sorted.Length; i++)
        {
            if (sorted[i] < 0 || sorted[i] >= source.Columns || (i > 0 && sorted[i] == sorted[i - 1]))
            {
                throw new ArgumentException($"Fixed outlier column {sorted[i]} of '{source.Name}' is out of range or given twice; columns are 0 to {source.Columns - 1}, each once.", nameof(columns));
            }
        }

        return sorted;
    }

    /// <summary>Holds the memory of all slices until it is disposed.</summary>
    internal readonly struct Usage : IDisposable
    {
        private readonly Int8Weights _weights;

        public Usage(Int8Weights weights)
        {
            _weights = weights;
            int held = 0;
            try
            {
                foreach (WeightPanels slice in weights.Slices)
                {
                    slice.AddReference();
                    held++;
                }
            }
            catch (ObjectDisposedException)
            {
                Release(held);
                throw new ObjectDisposedException($"{nameof(Int8Weights)} '{weights.Name}'");
            }
        }

        public void Dispose() => Release(_weights.Slices.Length);

        private void Release(int slices)
        {
            for (int i = 0; i < slices; i++)
            {
                _weights.Slices[i].Release();
            }
        }
    }
}
