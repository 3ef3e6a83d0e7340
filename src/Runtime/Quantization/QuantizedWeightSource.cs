using System.Buffers;
using KernelGen.Quantization;

namespace KernelGen;

/// <summary>
/// A matrix of weights that is quantized already: int8 rows with an absmax each, such as an int8 checkpoint holds. Packing takes the rows
/// as they are; who asks for floating-point values gets <c>q * absmax / 127</c>.
/// </summary>
/// <remarks>Reads may come from several threads at once.</remarks>
public abstract class QuantizedWeightSource : WeightSource
{
    /// <summary>Creates a source.</summary>
    /// <param name="name">What error messages call the matrix.</param>
    /// <param name="rows">N, output features, at least 1.</param>
    /// <param name="columns">K, input features, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A dimension is not positive.</exception>
    protected QuantizedWeightSource(string name, int rows, int columns)
        : base(name, rows, columns)
    {
    }

    /// <summary>
    /// The columns, ascending, whose original 16- or 32-bit weights <see cref="WeightSource.ReadColumn"/> gives, instead of dequantized
    /// ones; empty if there are none.
    /// </summary>
    public virtual IReadOnlyList<int> OriginalColumns => [];

    /// <summary>The absmax of a row: finite, not negative.</summary>
    /// <param name="row">The row, 0 to N - 1.</param>
    public abstract float Absmax(int row);

    /// <summary>Copies a row's quantized values.</summary>
    /// <param name="row">The row, 0 to N - 1.</param>
    /// <param name="destination">K values, each -127 to 127.</param>
    public abstract void ReadQuantizedRow(int row, Span<sbyte> destination);

    /// <inheritdoc/>
    public override void ReadRow(int row, Span<float> destination)
    {
        sbyte[] quantized = ArrayPool<sbyte>.Shared.Rent(Columns);
        ReadQuantizedRow(row, quantized.AsSpan(0, Columns));
        float step = AbsmaxScaling.Step(Absmax(row));
        for (int k = 0; k < destination.Length; k++)
        {
            destination[k] = quantized[k] * step;
        }

        ArrayPool<sbyte>.Shared.Return(quantized);
    }
}
