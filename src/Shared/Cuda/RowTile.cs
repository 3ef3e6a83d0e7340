namespace KernelGen;

/// <summary>What emission and launch of the kernels that quantize a single row of A agree on.</summary>
internal static class RowTile
{
    /// <summary>Output features of a tile.</summary>
    public const int Features = 64;

    /// <summary>Values that a thread takes at a time.</summary>
    public const int Group = 8;

    /// <summary>Kernels for rows up to this length keep the row as it is, for its outliers.</summary>
    public const int LongestKeptRow = 4096;

    /// <summary>How far beyond a row the multiplication reads: the rows that are not there are the row itself, 16 bytes further each time.</summary>
    private const int Slack = 128;

    /// <summary>
    /// Shared memory of a block that holds the row: int8 [KPadded], where there may be outliers a bit per column, and, where the row is kept, its 16-bit values
    /// [KPadded].
    /// </summary>
    /// <param name="kPadded">K rounded up to whole K blocks.</param>
    /// <param name="outliers">Whether there may be outliers.</param>
    /// <param name="longest">The longest row that the kernel takes.</param>
    public static int Bytes(int kPadded, bool outliers, int longest) =>
        kPadded + (outliers ? (kPadded / 8) + (longest <= LongestKeptRow ? kPadded * 2 : 0) : 0) + Slack;
}
