using KernelGen.Quantization;

namespace KernelGen;

/// <summary>Weights in memory, row-major and contiguous.</summary>
/// <typeparam name="T">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
public sealed class MemoryWeightSource<T> : WeightSource
    where T : unmanaged
{
    private readonly ReadOnlyMemory<T> _values;

    /// <summary>Wraps a matrix; nothing is copied.</summary>
    /// <param name="values">N * K values.</param>
    /// <param name="rows">N, output features.</param>
    /// <param name="columns">K, input features.</param>
    /// <param name="name">What error messages call the matrix.</param>
    /// <exception cref="ArgumentException">There are not exactly N * K values.</exception>
    /// <exception cref="NotSupportedException">T is not a supported element type.</exception>
    public MemoryWeightSource(ReadOnlyMemory<T> values, int rows, int columns, string name = "weights")
        : base(name, rows, columns)
    {
        Elements.ThrowIfUnsupported<T>();
        if (values.Length != (long)rows * columns)
        {
            throw new ArgumentException($"'{name}' has {values.Length} values; [{rows},{columns}] needs {(long)rows * columns}.", nameof(values));
        }

        _values = values;
    }

    /// <inheritdoc/>
    public override Type ElementType => typeof(T);

    /// <inheritdoc/>
    public override unsafe long Bytes => (long)_values.Length * sizeof(T);

    /// <inheritdoc/>
    public override void ReadRow(int row, Span<float> destination) =>
        Elements.ToSingle(_values.Span.Slice(row * Columns, Columns), destination);

    /// <inheritdoc/>
    public override void ReadColumn(int column, int firstRow, Span<float> destination)
    {
        ReadOnlySpan<T> source = _values.Span;
        for (int i = 0; i < destination.Length; i++)
        {
            Elements.ToSingle(source.Slice(((firstRow + i) * Columns) + column, 1), destination.Slice(i, 1));
        }
    }
}
