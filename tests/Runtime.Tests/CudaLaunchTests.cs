using KernelGen.Backends.Cuda;
using Xunit;

namespace KernelGen.Tests;

/// <summary>How kernels for few rows are launched: all that is there is covered, and nothing is asked for that a kernel or device has no room for.</summary>
public sealed class CudaLaunchTests
{
    private const int LongestRow = 32768, Multiprocessors = 132;

    public static TheoryData<int> RowLengths => [128, 256, 768, 1024, 1152, 2048, 4096, 5120, 8192, 12288, 16384, 20480, 32768];

    [Theory]
    [MemberData(nameof(RowLengths))]
    public void A_cluster_holds_all_rows_and_has_two_blocks_or_more(int kPadded)
    {
        for (int rows = 1; rows <= RegisterRows.MostClusterRows + 1; rows++)
        {
            RegisterRows? launch = RegisterRows.ForCluster(rows, kPadded, LongestRow);
            bool fits = rows <= 64 && (((rows + 7) / 8) * ((kPadded + 1023) / 1024)) <= 32;
            Assert.Equal(fits, launch is not null);
            if (launch is { } cluster)
            {
                Assert.InRange(cluster.Blocks, 2, 8);
                Assert.True(int.IsPow2(cluster.Blocks));
                Assert.True(rows == 1 || cluster.Blocks < 2 * rows, $"{cluster} for {rows} rows");
                Covers(cluster, rows, kPadded);
            }
        }
    }

    [Theory]
    [MemberData(nameof(RowLengths))]
    public void Blocks_hold_all_rows(int kPadded)
    {
        foreach (int rows in new[] { 1, 2, 7, 16, 64, 65, 130, 2047 })
        {
            RegisterRows launch = RegisterRows.For(rows, kPadded, LongestRow);
            Covers(launch, rows, kPadded);
            Assert.True((launch.Blocks - 1) * launch.RowsPerBlock < rows);
        }
    }

    [Theory]
    [InlineData(64, 8, 16, 64, 1)] // K too short to be shared
    [InlineData(64, 32, 16, 192, 3)] // a cluster for each tile
    [InlineData(64, 32, 32, 192, 3)]
    [InlineData(64, 32, 64, 128, 2)] // one other block's sums fit
    [InlineData(256, 32, 16, 256, 1)]
    [InlineData(320, 40, 16, 640, 2)] // more tiles than places, few in the last wave: two blocks share each
    [InlineData(395, 40, 16, 790, 2)]
    [InlineData(396, 40, 16, 396, 1)] // the last wave is half full
    [InlineData(528, 40, 16, 528, 1)] // no last wave that is not full
    [InlineData(320, 8, 16, 264, 1)] // a short K
    [InlineData(5, 128, 8, 264, 1)] // few tiles: equal shares of everything
    public void A_tile_has_a_block_or_a_cluster(long tiles, long kBlocks, int tokens, int grid, int cluster) =>
        Assert.Equal(((uint)grid, (uint)cluster), StreamGrid.For(Multiprocessors, tiles, kBlocks, tokens));

    [Theory]
    [InlineData(7, 125, 56, 8)] // a single row's sums take little room: as many blocks as a cluster has
    [InlineData(7, 128, 56, 8)]
    [InlineData(64, 32, 192, 3)]
    [InlineData(320, 40, 320, 1)]
    public void A_single_row_has_a_block_or_a_cluster_per_tile(long tiles, long kBlocks, int grid, int cluster) =>
        Assert.Equal(((uint)grid, (uint)cluster), StreamGrid.ForRow(Multiprocessors, tiles, kBlocks));

    [Fact]
    public void A_single_row_of_few_long_tiles_is_left_to_blocks_that_share_them() => Assert.Null(StreamGrid.ForRow(Multiprocessors, tiles: 5, kBlocks: 128));

    [Theory]
    [InlineData(8)]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void The_sums_of_a_clusters_other_blocks_fit_into_the_first_ones_scratch(int tokens)
    {
        Assert.True(StreamTile.RankBytes(tokens) * (StreamTile.MostRanks(tokens) - 1) <= StreamTile.ScratchBytes);
        for (long tiles = 1; tiles < 700; tiles += 3)
        {
            foreach (long kBlocks in new[] { 4, 15, 16, 32, 128, 384 })
            {
                Assert.InRange(StreamGrid.For(Multiprocessors, tiles, kBlocks, tokens).Cluster, 1u, (uint)StreamTile.MostRanks(tokens));
            }
        }
    }

    private static void Covers(RegisterRows launch, int rows, int kPadded)
    {
        Assert.True(launch.Blocks * launch.RowsPerBlock >= rows, $"{launch} for {rows} rows");
        Assert.InRange(launch.RowsPerBlock, 1, 8);
        Assert.InRange(launch.Threads, 32, 1024);
        Assert.True(launch.WarpsPerRow * LongestRow / 32 >= kPadded, $"{launch} for rows of {kPadded}");
    }
}
