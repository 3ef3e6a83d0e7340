using System.Globalization;
using System.Numerics.Tensors;
using KernelGen.Backends.Cpu;

namespace KernelGen.Quantization;

/// <summary>Gives a source's rows as int8 with their absmax, whether it quantizes them or finds them quantized: packing sees no difference.</summary>
internal abstract class RowQuantizer
{
    /// <summary>Makes the quantizer of a source.</summary>
    /// <exception cref="ArgumentException">The rows have a scale each, but the spec's weights have one.</exception>
    public static RowQuantizer For(WeightSource source, Int8Spec spec, int maxDegreeOfParallelism)
    {
        bool onePerRow = spec.Granularity == QuantizationGranularity.Vector;
        return source is QuantizedWeightSource quantized
            ? new Stored(quantized, onePerRow)
            : new Rounding(source, onePerRow ? null : TensorAbsmax(source, maxDegreeOfParallelism));
    }

    /// <summary>Quantizes a row.</summary>
    /// <param name="row">The row.</param>
    /// <param name="scratch">K values to work in.</param>
    /// <param name="quantized">Receives K values.</param>
    /// <returns>The absmax that the row is quantized with.</returns>
    /// <exception cref="ArgumentException">A value cannot be quantized, or is not one that a quantizer writes; the message names row and column.</exception>
    public abstract float Quantize(int row, Span<float> scratch, Span<sbyte> quantized);

    private static float TensorAbsmax(WeightSource source, int maxDegreeOfParallelism)
    {
        float[] rows = new float[source.Rows];
        CpuParallel.ForRanges(source.Rows, grain: 1 + (100_000 / source.Columns), maxDegreeOfParallelism, (first, end) =>
        {
            float[] row = new float[source.Columns];
            for (int n = first; n < end; n++)
            {
                source.ReadRow(n, row);
                rows[n] = WeightRows.Absmax<float>(source.Name, n, row);
            }
        });
        return TensorPrimitives.Max<float>(rows);
    }

    /// <summary>Rows of floating-point weights.</summary>
    private sealed class Rounding(WeightSource source, float? tensorAbsmax) : RowQuantizer
    {
        public override float Quantize(int row, Span<float> scratch, Span<sbyte> quantized)
        {
            source.ReadRow(row, scratch);
            float absmax = tensorAbsmax ?? WeightRows.Absmax<float>(source.Name, row, scratch);
            StoredWeightRows.Quantize<float>(scratch, absmax, quantized);
            return absmax;
        }
    }

    /// <summary>Rows that are int8 already.</summary>
    private sealed class Stored : RowQuantizer
    {
        private readonly QuantizedWeightSource _source;

        public Stored(QuantizedWeightSource source, bool onePerRow)
        {
            _source = source;
            for (int row = 0; row < source.Rows; row++)
            {
                float absmax = source.Absmax(row);
                if (!float.IsFinite(absmax) || absmax < 0)
                {
                    throw new ArgumentException(string.Create(
                        CultureInfo.InvariantCulture, $"'{source.Name}' has the absmax {absmax} at row {row}; it must be finite and not negative. Repair the checkpoint."));
                }

                if (!onePerRow && absmax != source.Absmax(0))
                {
                    throw new ArgumentException(string.Create(
                        CultureInfo.InvariantCulture,
                        $"'{source.Name}' is quantized with a scale per row (absmax {source.Absmax(0)} at row 0, {absmax} at row {row}), the kernels' weights have one scale. Use kernels with QuantizationGranularity.Vector, or quantize the original weights."));
                }
            }
        }

        public override float Quantize(int row, Span<float> scratch, Span<sbyte> quantized)
        {
            _source.ReadQuantizedRow(row, quantized);
            int column = WeightRows.FindOutOfRange(quantized);
            return column < 0
                ? _source.Absmax(row)
                : throw new ArgumentException($"'{_source.Name}' has the value -128 at row {row}, column {column}; quantized weights are -127 to 127. Repair the checkpoint.");
        }
    }
}
