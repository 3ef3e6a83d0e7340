using System.Globalization;
using System.Numerics;

namespace KernelGen.Quantization;

/// <summary>Absmax quantization of weights, a row (output feature) at a time.</summary>
internal static class WeightRows
{
    /// <summary>A row's absmax.</summary>
    /// <typeparam name="T">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="name">What errors call the matrix.</param>
    /// <param name="n">The row's index.</param>
    /// <param name="row">The row.</param>
    /// <exception cref="ArgumentException">A value is not finite; the message names the matrix, row and column.</exception>
    public static float Absmax<T>(string name, long n, ReadOnlySpan<T> row)
        where T : unmanaged
    {
        float absmax = StoredWeightRows.Absmax(row);
        if (float.IsFinite(absmax))
        {
            return absmax;
        }

        Span<float> value = [0];
        int column = 0;
        for (; column < row.Length && float.IsFinite(value[0]); column++)
        {
            Elements.ToSingle(row.Slice(column, 1), value);
        }

        throw new ArgumentException(string.Create(
            CultureInfo.InvariantCulture,
            $"'{name}' has the value {value[0]} at row {n}, column {column - 1}; weights must be finite to be quantized. Repair the checkpoint."));
    }

    /// <summary>The sum of a row's quantized values.</summary>
    public static int Sum(ReadOnlySpan<sbyte> values)
    {
        // The sum of two 8-bit values fits 16 bits: added in pairs before they are widened again.
        Vector<int> sums = Vector<int>.Zero;
        int i = 0;
        for (; i <= values.Length - Vector<sbyte>.Count; i += Vector<sbyte>.Count)
        {
            Vector.Widen(new Vector<sbyte>(values[i..]), out Vector<short> low, out Vector<short> high);
            Vector.Widen(low + high, out Vector<int> first, out Vector<int> second);
            sums += first + second;
        }

        int sum = Vector.Sum(sums);
        for (; i < values.Length; i++)
        {
            sum += values[i];
        }

        return sum;
    }

    /// <summary>The index of a value that no quantizer writes (-128), or -1. Kernels count on |q| of 127 at most.</summary>
    public static int FindOutOfRange(ReadOnlySpan<sbyte> values) => values.IndexOf(sbyte.MinValue);
}
