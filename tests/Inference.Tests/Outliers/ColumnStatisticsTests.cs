using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Outliers;
using Xunit;

namespace KernelGen.Inference.Tests.Outliers;

/// <summary>Counts and quartiles, against all values kept and sorted.</summary>
public class ColumnStatisticsTests
{
    private const float Threshold = 6;

    private static readonly float[] _candidates = [2, 6, 12.5f];

    [Property(MaxTest = 200)]
    public void They_are_those_of_the_values(PositiveInt seed)
    {
        Random random = new(seed.Get);
        (int rows, int columns, int batches) = (random.Next(1, 40), random.Next(1, 40), random.Next(1, 4));
        ColumnStatistics statistics = new(columns, Threshold, _candidates);
        List<float>[] values = [.. Enumerable.Range(0, columns).Select(static _ => new List<float>())];
        for (int batch = 0; batch < batches; batch++)
        {
            float[] matrix = new float[rows * columns];
            for (int i = 0; i < matrix.Length; i++)
            {
                matrix[i] = random.Next(10) switch { 0 => Threshold, 1 => -Threshold, 2 => MathF.BitDecrement(Threshold), _ => (random.NextSingle() - 0.4f) * 40 * (i % columns % 3) };
                values[i % columns].Add(matrix[i]);
            }

            statistics.Add(matrix);
        }

        Assert.True(statistics.IsFinite);
        Assert.Equal(rows * batches, statistics.Rows);
        Assert.Equal(values.Select(static column => column.Max(MathF.Abs)), statistics.Absmax.ToArray());
        for (int i = 0; i < _candidates.Length; i++)
        {
            Assert.Equal(values.Select(column => column.Count(value => MathF.Abs(value) >= _candidates[i])), statistics.Reaching(i).ToArray());
        }

        Dictionary<int, OutlierColumn> found = statistics.Columns().ToDictionary(static column => column.Column);
        for (int k = 0; k < columns; k++)
        {
            float[] outliers = [.. values[k].Where(static value => MathF.Abs(value) >= Threshold).Order()];
            Assert.Equal(outliers.Length > 0, found.ContainsKey(k));
            if (outliers.Length > 0)
            {
                Check(outliers, values[k].Count, found[k]);
            }
        }
    }

    [Fact]
    public void Parts_add_up_to_the_whole()
    {
        float[] matrix = [.. Enumerable.Range(0, 64).Select(static i => (i - 30) * 0.5f)];
        ColumnStatistics whole = new(4, Threshold, []), first = new(4, Threshold, []), second = new(4, Threshold, []);
        whole.Add(matrix);
        first.Add(matrix.AsSpan(0, 24));
        second.Add(matrix.AsSpan(24));
        first.Add(second);

        Assert.Equal(whole.Columns(), first.Columns());
        Assert.Equal(16, first.Rows);
    }

    [Theory]
    [InlineData(float.NaN, 0)]
    [InlineData(float.NaN, 40)]
    [InlineData(float.PositiveInfinity, 3)]
    [InlineData(float.NegativeInfinity, 40)]
    public void What_is_not_finite_is_noticed_wherever_it_stands(float value, int column)
    {
        float[] row = new float[41];
        row[column] = value;
        ColumnStatistics statistics = new(row.Length, Threshold, _candidates);
        statistics.Add(row);

        Assert.False(statistics.IsFinite);
    }

    private static void Check(float[] sorted, int rows, OutlierColumn column)
    {
        Assert.Equal((double)sorted.Length / rows, column.PositionShare);
        Assert.Equal((double)sorted.Count(static value => value > 0) / sorted.Length, column.PositiveShare);
        AssertNear(0.25, column.Quartiles.Lower);
        AssertNear(0.5, column.Quartiles.Median);
        AssertNear(0.75, column.Quartiles.Upper);

        void AssertNear(double share, double actual)
        {
            float exact = sorted[Math.Max(1, (int)Math.Ceiling(share * sorted.Length)) - 1];
            Assert.InRange(actual, exact - (Math.Abs(exact) * 0.001), exact + (Math.Abs(exact) * 0.001));
        }
    }
}
