using System.Numerics;

namespace KernelGen.Backends.Cuda;

/// <summary>How the kernels that quantize rows of 16-bit values in registers are launched.</summary>
/// <param name="Blocks">Thread blocks.</param>
/// <param name="RowsPerBlock">Rows of each, as many as are left for the last ones.</param>
/// <param name="WarpsPerRow">Warps that share a row.</param>
internal readonly record struct RegisterRows(int Blocks, int RowsPerBlock, int WarpsPerRow)
{
    /// <summary>Values of one load, threads of a block at most, and rows that a block holds at most.</summary>
    private const int Group = 8, MostThreads = 1024, MostWarps = MostThreads / 32, MostBlockRows = 8;

    /// <summary>
    /// How many rows are few, and the warps of a block of them. More would have no room beside the blocks of the multiplication ahead, whose end they would have to await before they begin.
    /// </summary>
    private const int FewRows = 64, FewRowsWarps = 8;

    /// <summary>Blocks tell each other what they have marked by instructions that are illegal outside a cluster, even for a block alone.</summary>
    private const int LeastClusterBlocks = 2;

    /// <summary>The most rows that a cluster marks and quantizes.</summary>
    public const int MostClusterRows = StreamTile.MostClusterBlocks * MostBlockRows;

    /// <summary>Of a block.</summary>
    public int Threads => 32 * WarpsPerRow * RowsPerBlock;

    /// <summary>Bytes of a mask of columns, which a block that marks them holds in dynamic shared memory: its own, and in a cluster the call's behind it.</summary>
    /// <param name="kPadded">Columns.</param>
    public static int MaskBytes(int kPadded) => kPadded / 8;

    /// <summary>As few warps per row as its registers allow, several rows per block; of few rows more warps and blocks.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="kPadded">Values of a row.</param>
    /// <param name="longestRow">Values that a whole block holds.</param>
    public static RegisterRows For(int rows, int kPadded, int longestRow)
    {
        const int FewRowsGroups = 2, BlockWarps = 16;
        (int groups, int blockWarps) = rows <= FewRows ? (FewRowsGroups, FewRowsWarps) : (longestRow / Group / MostThreads, BlockWarps);
        int warps = Math.Min(Warps(kPadded, groups), MostWarps);
        int rowsPerBlock = Math.Clamp(blockWarps / warps, 1, Math.Min(MostBlockRows, rows));
        return new RegisterRows((rows + rowsPerBlock - 1) / rowsPerBlock, rowsPerBlock, warps);
    }

    /// <summary>
    /// One cluster of as few blocks of eight warps as hold the rows, since every block tells all others what it has marked; null where the rows are too many, or too long for their number.
    /// </summary>
    /// <inheritdoc cref="For"/>
    public static RegisterRows? ForCluster(int rows, int kPadded, int longestRow)
    {
        if (rows > MostClusterRows)
        {
            return null;
        }

        int warps = Warps(kPadded, longestRow / Group / MostThreads);
        int blocks = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Min(((rows * warps) + FewRowsWarps - 1) / FewRowsWarps, rows));
        blocks = Math.Clamp(blocks, Math.Max(LeastClusterBlocks, (rows + MostBlockRows - 1) / MostBlockRows), StreamTile.MostClusterBlocks);
        int rowsPerBlock = (rows + blocks - 1) / blocks;
        return warps * rowsPerBlock > MostWarps ? null : new RegisterRows(blocks, rowsPerBlock, warps);
    }

    private static int Warps(int kPadded, int groups) => ((kPadded / Group) + (32 * groups) - 1) / (32 * groups);
}
