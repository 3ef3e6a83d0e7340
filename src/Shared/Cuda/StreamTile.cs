namespace KernelGen;

/// <summary>What emission and launch of the kernels that stream weights agree on.</summary>
internal static class StreamTile
{
    /// <summary>Shared memory of a block that other blocks of its cluster leave their sums in; afterwards scratch of the activation function.</summary>
    public const int ScratchBytes = 16 << 10;

    /// <summary>Consumer threads, and bytes of sums of each for eight rows.</summary>
    private const int ConsumerThreads = 128, ThreadBytes = 16;

    /// <summary>The most blocks of a cluster on every device that has clusters.</summary>
    public const int MostClusterBlocks = 8;

    /// <summary>Bytes of the sums of a block, [64 output features][tokens] of int32.</summary>
    /// <param name="tokens">Rows of A that the kernel takes at most.</param>
    public static int RankBytes(int tokens) => tokens / 8 * ConsumerThreads * ThreadBytes;

    /// <summary>Blocks that may share a tile's K: the first one's scratch holds the others' sums.</summary>
    /// <param name="tokens">Rows of A that the kernel takes at most.</param>
    public static int MostRanks(int tokens) => System.Math.Min(MostClusterBlocks, 1 + (ScratchBytes / RankBytes(tokens)));
}
