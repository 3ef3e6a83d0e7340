using KernelGen.Reference;

namespace KernelGen.Tuning;

/// <summary>
/// The oracle for a shape of synthetic data. All of a large product would take it minutes, so it computes some rows and columns; what it leaves
/// out, variants are compared on with each other.
/// </summary>
internal sealed class ResultOracle
{
    private const int MostRows = 8, MostColumns = 24;

    private readonly Int8Spec _spec;
    private readonly int _k;
    private readonly int[] _outliers;
    private readonly SyntheticData.Weights _weights;
    private readonly OutlierOrder _order;

    /// <param name="spec">The numeric settings.</param>
    /// <param name="rows">M.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="outliers">The activations' outlier columns.</param>
    /// <param name="order">How outlier products are summed.</param>
    public ResultOracle(Int8Spec spec, int rows, SyntheticData.Weights weights, int[] outliers, OutlierOrder order)
    {
        (_spec, _k, _order) = (spec, weights.Columns, order);
        (_outliers, _weights) = (outliers, weights);
        int n = weights.Rows;

        // The ends, where tiles are cut short, and places between.
        Random random = new(rows + n + _k);
        Rows = Pick(random, rows, MostRows);
        Columns = Pick(random, n, MostColumns);
        Expected = Compute(Rows, Columns);
    }

    /// <summary>The rows that were computed.</summary>
    public int[] Rows { get; }

    /// <summary>The columns that were computed.</summary>
    public int[] Columns { get; }

    /// <summary>The results there, in float32.</summary>
    public float[,] Expected { get; }

    /// <summary>One result.</summary>
    public float At(int row, int column) => Compute([row], [column])[0, 0];

    private float[,] Compute(int[] rows, int[] columns)
    {
        float[,] activations = new float[rows.Length, _k];
        float[] values = new float[_k];
        for (int i = 0; i < rows.Length; i++)
        {
            SyntheticData.FillActivations(_spec, rows[i], _outliers, values);
            Buffer.BlockCopy(values, 0, activations, i * _k * sizeof(float), _k * sizeof(float));
        }

        sbyte[,] weights = new sbyte[columns.Length, _k];
        sbyte[] row = new sbyte[_k];
        for (int i = 0; i < columns.Length; i++)
        {
            _weights.ReadQuantizedRow(columns[i], row);
            Buffer.BlockCopy(row, 0, weights, i * _k, _k);
        }

        return ReferenceMatMul.MatMul(_spec, activations, weights, Array.ConvertAll(columns, _weights.Absmax), _outliers, _order);
    }

    private static int[] Pick(Random random, int count, int most) => count <= most
        ? [.. Enumerable.Range(0, count)]
        : [.. new[] { 0, count - 1 }.Concat(Enumerable.Range(0, most - 2).Select(_ => random.Next(count))).Distinct().Order()];
}
