namespace KernelGen.Backends.Cuda;

/// <summary>How many blocks stream a matrix of weights for few rows, two on each multiprocessor, and how they share it.</summary>
internal static class StreamGrid
{
    /// <summary>Blocks of K from which thread blocks may share a tile's, and that each has then at least.</summary>
    private const int LongK = 16, LeastRankBlocks = 4;

    /// <summary>
    /// A block or a cluster for each tile. Where even clusters leave most multiprocessors idle, equal shares of everything, more than there are tiles, whose sums go
    /// by way of global memory. Of more tiles than there is room for, a block takes each, or two where the tiles of the last wave would fill less than half of the device; where
    /// K is short, as many blocks as there is room for have several tiles each.
    /// </summary>
    /// <param name="multiprocessors">Of the device.</param>
    /// <param name="tiles">Of 64 output features.</param>
    /// <param name="kBlocks">Of 128 input features.</param>
    /// <param name="tokens">Rows of A that the kernel takes at most.</param>
    public static (uint Grid, uint Cluster) For(int multiprocessors, long tiles, long kBlocks, int tokens)
    {
        long slots = Slots(multiprocessors);
        if (tiles > slots)
        {
            long last = tiles % slots;
            uint ranks = last > 0 && 2 * last < slots ? 2u : 1u;
            return kBlocks >= LongK ? (ranks * (uint)tiles, ranks) : ((uint)slots, 1u);
        }

        return Clusters(multiprocessors, tiles, kBlocks, StreamTile.MostRanks(tokens)) ?? ((uint)Math.Min(slots, tiles * ((kBlocks + 1) / 2)), 1);
    }

    /// <summary>The launch of the kernels for a single row, a block or a cluster per tile; null where blocks had better share tiles otherwise.</summary>
    /// <inheritdoc cref="For"/>
    public static (uint Grid, uint Cluster)? ForRow(int multiprocessors, long tiles, long kBlocks) => Clusters(multiprocessors, tiles, kBlocks, StreamTile.MostClusterBlocks);

    private static long Slots(int multiprocessors) => 2L * multiprocessors;

    /// <summary>A block or a cluster for each tile; null where K is long and they would leave most of the device idle.</summary>
    private static (uint Grid, uint Cluster)? Clusters(int multiprocessors, long tiles, long kBlocks, int mostRanks)
    {
        long ranks = 1;
        bool isLong = kBlocks >= LongK;

        // Clusters stay within a group of multiprocessors, and those of more than two do not divide it: of four blocks, 62 fit into 264 slots, and the 64th would be a second wave.
        long slots = Slots(multiprocessors), clusterSlots = slots * 3 / 4;
        for (int more = 2; isLong && more <= mostRanks && kBlocks / more >= LeastRankBlocks && more * tiles <= (more == 2 ? slots : clusterSlots); more++)
        {
            ranks = more;
        }

        return !isLong || ranks * tiles * 3 >= multiprocessors ? ((uint)(ranks * tiles), (uint)ranks) : null;
    }
}
