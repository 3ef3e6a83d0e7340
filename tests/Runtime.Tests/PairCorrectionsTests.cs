using FsCheck.Xunit;
using KernelGen.Quantization;
using Xunit;

namespace KernelGen.Tests;

/// <summary>What packing takes from pairs of weights is given back exactly, however far apart they are.</summary>
public sealed class PairCorrectionsTests
{
    private const int Limit = 128, Lanes = 3;

    [Property]
    public void Reduced_rows_respect_the_limit_and_come_back(int seed, byte density)
    {
        const int Columns = 1500;
        Random random = new(seed);
        PairCorrections corrections = new(Lanes);
        sbyte[][] originals = [.. Enumerable.Range(0, Lanes - 1).Select(_ => Row(random, Columns, density / 255.0))];
        sbyte[][] reduced = [.. originals.Select(static row => row.ToArray())];
        for (int lane = 0; lane < reduced.Length; lane++)
        {
            corrections.Reduce(lane, reduced[lane], Limit);
        }

        corrections.Close(reduced.Length);
        int count = 0;
        for (int lane = 0; lane < reduced.Length; lane++)
        {
            for (int k = 0; k < Columns; k++)
            {
                Assert.Equal(originals[lane][k] - reduced[lane][k], corrections[lane, k]);
                Assert.InRange(k % 2 == 0 ? reduced[lane][k] + reduced[lane][k + 1] : 0, -Limit, Limit);
                count += originals[lane][k] != reduced[lane][k] ? 1 : 0;
            }

            corrections.Restore(lane, reduced[lane]);
            Assert.Equal(originals[lane], reduced[lane]);
        }

        Assert.Equal(count, corrections.Count);
        Assert.Equal(corrections.Starts[Lanes - 1], corrections.Starts[Lanes]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(254)]
    [InlineData(256)]
    [InlineData(510)]
    [InlineData(512)]
    [InlineData(1020)]
    [InlineData(9998)]
    public void A_lone_pair_is_found_wherever_it_is(int column)
    {
        sbyte[] row = new sbyte[10000];
        (row[column], row[column + 1]) = (-127, -127);
        PairCorrections corrections = new(1);
        corrections.Reduce(0, row, Limit);
        corrections.Close(1);
        Assert.Equal((-126, 0, 1), (corrections[0, column], corrections[0, column + 1], corrections.Count));
        Assert.Equal((-1, -127), (row[column], row[column + 1]));
        corrections.Restore(0, row);
        Assert.Equal((-127, -127), (row[column], row[column + 1]));
    }

    /// <summary>Mostly small values, some of full range.</summary>
    private static sbyte[] Row(Random random, int columns, double density) =>
        [.. Enumerable.Range(0, columns).Select(_ => (sbyte)(random.NextDouble() < density ? random.Next(-127, 128) : random.Next(-40, 41)))];
}
