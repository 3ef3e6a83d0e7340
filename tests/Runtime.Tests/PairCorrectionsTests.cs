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
        const int Columns = 1500, Panels = 2;
        Random random = new(seed);

        // The last panel lacks its last row.
        sbyte[][] originals = [.. Enumerable.Range(0, (Panels * Lanes) - 1).Select(_ => Row(random, Columns, density / 255.0))];
        sbyte[][] reduced = [.. originals.Select(static row => row.ToArray())];
        PairReduction[] reductions = [new(), new()];
        for (int i = 0; i < reduced.Length; i++)
        {
            int taken = reductions[i / Lanes].Reduce(reduced[i], Limit);
            Assert.Equal(originals[i].Sum(static w => w) - reduced[i].Sum(static w => w), taken);
        }

        PairCorrections corrections = new(reductions, Lanes), copy = corrections.Copy();
        int count = 0;
        for (int i = 0; i < reduced.Length; i++)
        {
            (int panel, int lane) = (i / Lanes, i % Lanes);
            for (int k = 0; k < Columns; k++)
            {
                Assert.Equal(originals[i][k] - reduced[i][k], corrections[panel, lane, k]);
                Assert.InRange(k % 2 == 0 ? reduced[i][k] + reduced[i][k + 1] : 0, -Limit, Limit);
                count += originals[i][k] != reduced[i][k] ? 1 : 0;
            }

            copy.Restore(panel, lane, reduced[i]);
            Assert.Equal(originals[i], reduced[i]);
        }

        Assert.Equal(count, corrections.Count);
    }

    [Property]
    public unsafe void Lists_are_ordered_by_length_and_neighbours_in_them_respect_the_limit(int seed, byte density)
    {
        const int Columns = 700;
        Random random = new(seed);
        PairReduction reduction = new();
        for (int lane = 0; lane < Lanes - 1; lane++)
        {
            reduction.Reduce(Row(random, Columns, density / 255.0), Limit);
        }

        PairCorrections corrections = new([reduction], Lanes);
        PairCorrections.PanelLists lists = corrections.Panel(0);
        PairCorrections.Entry* entry = lists.Entries;
        List<int> lanes = [];
        for (int i = 0; i < Lanes; i++)
        {
            lanes.Add(lists.Lanes[i]);
            Assert.True(i == 0 || lists.Counts[i] <= lists.Counts[i - 1]);
            Assert.Equal(reduction.Entries(lists.Lanes[i]).Length, lists.Counts[i]);
            for (int j = 0; j < lists.Counts[i]; j++, entry++)
            {
                Assert.InRange(Math.Abs((int)entry->Delta0) + Math.Abs((int)entry->Delta1), 0, Limit);
                Assert.InRange(Math.Abs((int)entry->Delta2) + Math.Abs((int)entry->Delta3), 0, Limit);
            }
        }

        Assert.Equal(Enumerable.Range(0, Lanes), lanes.Order());
        GC.KeepAlive(corrections);
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
        PairReduction reduction = new();
        Assert.Equal(-126, reduction.Reduce(row, Limit));
        PairCorrections corrections = new([reduction], 1);
        Assert.Equal((-126, 0, 1L), (corrections[0, 0, column], corrections[0, 0, column + 1], corrections.Count));
        Assert.Equal((-1, -127), (row[column], row[column + 1]));
        corrections.Restore(0, 0, row);
        Assert.Equal((-127, -127), (row[column], row[column + 1]));
    }

    /// <summary>Mostly small values, some of full range.</summary>
    private static sbyte[] Row(Random random, int columns, double density) =>
        [.. Enumerable.Range(0, columns).Select(_ => (sbyte)(random.NextDouble() < density ? random.Next(-127, 128) : random.Next(-40, 41)))];
}
