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

    /// <summary>Rows of A that sums are kept for at least: wgmma's.</summary>
    public const int LeastTokens = 8;

    /// <summary>Values of a single row that a thread takes at a time.</summary>
    public const int RowGroup = 8;

    /// <summary>How far beyond a row the multiplication reads: the rows that are not there are the row itself, 16 bytes further each time.</summary>
    private const int RowSlack = 128;

    /// <summary>Kernels for rows up to this length keep the row as it is, for its outliers.</summary>
    public const int LongestKeptRow = 4096;

    /// <summary>
    /// Shared memory of a block that holds a single row of A: int8 [KPadded], where there may be outliers a bit per column, and, where the row is kept, its
    /// 16-bit values [KPadded].
    /// </summary>
    /// <param name="kPadded">K rounded up to whole K blocks.</param>
    /// <param name="outliers">Whether there may be outliers.</param>
    /// <param name="longest">The longest row that the kernel takes.</param>
    public static int RowBytes(int kPadded, bool outliers, int longest) =>
        kPadded + (outliers ? (kPadded / 8) + (longest <= LongestKeptRow ? kPadded * 2 : 0) : 0) + RowSlack;

    /// <summary>Bytes of the sums of a block, [64 output features][tokens] of int32.</summary>
    /// <param name="tokens">Rows of A that the kernel takes at most.</param>
    public static int RankBytes(int tokens) => tokens / 8 * ConsumerThreads * ThreadBytes;

    /// <summary>Blocks that may share a tile's K: the first one's scratch holds the others' sums.</summary>
    /// <param name="tokens">Rows of A that the kernel takes at most.</param>
    public static int MostRanks(int tokens) => System.Math.Min(MostClusterBlocks, 1 + (ScratchBytes / RankBytes(tokens)));
}
