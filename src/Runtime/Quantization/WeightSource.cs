namespace KernelGen;

/// <summary>A matrix of 16- or 32-bit weights, [N,K] with a row per output feature, that is read row by row and column by column.</summary>
/// <remarks>Reads may come from several threads at once.</remarks>
public abstract class WeightSource
{
    /// <summary>Creates a source.</summary>
    /// <param name="name">What error messages call the matrix.</param>
    /// <param name="rows">N, output features, at least 1.</param>
    /// <param name="columns">K, input features, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A dimension is not positive.</exception>
    protected WeightSource(string name, int rows, int columns)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        Name = name;
        Rows = rows;
        Columns = columns;
    }

    /// <summary>What error messages call the matrix.</summary>
    public string Name { get; }

    /// <summary>N, output features.</summary>
    public int Rows { get; }

    /// <summary>K, input features.</summary>
    public int Columns { get; }

    /// <summary>The type of the values: <see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</summary>
    public abstract Type ElementType { get; }

    /// <summary>Bytes of memory that the source itself holds; 0 where it reads a mapped file.</summary>
    public abstract long Bytes { get; }

    /// <summary>Widens a row to float32.</summary>
    /// <param name="row">The row, 0 to N - 1.</param>
    /// <param name="destination">K values.</param>
    public abstract void ReadRow(int row, Span<float> destination);

    /// <summary>Widens one value of each of several rows to float32.</summary>
    /// <param name="column">The column, 0 to K - 1.</param>
    /// <param name="firstRow">The first row.</param>
    /// <param name="destination">A value per row, from <paramref name="firstRow"/> on.</param>
    public abstract void ReadColumn(int column, int firstRow, Span<float> destination);
}
