using System.Globalization;
using System.Numerics.Tensors;

namespace KernelGen.Quantization;

/// <summary>Absmax quantization of weights, a row (output feature) at a time.</summary>
internal static class WeightRows
{
    /// <summary>A row's absmax.</summary>
    /// <exception cref="ArgumentException">A value is not finite; the message names the source, row and column.</exception>
    public static float Absmax(WeightSource source, int n, ReadOnlySpan<float> row)
    {
        // MaxMagnitude propagates NaN.
        float absmax = MathF.Abs(TensorPrimitives.MaxMagnitude(row));
        if (float.IsFinite(absmax))
        {
            return absmax;
        }

        int column = 0;
        while (float.IsFinite(row[column]))
        {
            column++;
        }

        throw new ArgumentException(
            string.Create(CultureInfo.InvariantCulture, $"'{source.Name}' has the value {row[column]} at row {n}, column {column}; weights must be finite to be quantized. Repair the checkpoint."),
            nameof(source));
    }

    /// <summary>Quantizes a row: q = round(x * 127 / absmax), half to even. Writes over the row.</summary>
    public static void Quantize(Span<float> row, float absmax, Span<sbyte> quantized)
    {
        (float prescale, float scale) = AbsmaxScaling.Symmetric(absmax);
        if (prescale != 1)
        {
            TensorPrimitives.Multiply(row, prescale, row);
        }

        TensorPrimitives.Multiply(row, scale, row);
        TensorPrimitives.Round<float>(row, row);
        TensorPrimitives.ConvertTruncating<float, sbyte>(row, quantized);
    }

    /// <summary>The sum of a row's quantized values.</summary>
    public static int Sum(ReadOnlySpan<sbyte> values)
    {
        int sum = 0;
        foreach (sbyte value in values)
        {
            sum += value;
        }

        return sum;
    }
}
