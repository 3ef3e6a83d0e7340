namespace KernelGen;

/// <summary>What every kernel of a decoder step agrees on about rows, pages and tiles.</summary>
internal static class DecoderRow
{
    /// <summary>The position of a row that holds no token: a step's graph has as many rows as its bucket, not as many as there are sequences.</summary>
    public const uint Inactive = uint.MaxValue;

    /// <summary>The token of a row whose logits hold a NaN or have no finite largest one.</summary>
    public const uint NoToken = uint.MaxValue;

    /// <summary>Positions per page of the key-value cache.</summary>
    public const int PageSize = 64;

    /// <summary>Pages that so many positions take, the last one filled in part.</summary>
    public static int PagesFor(int positions) => (positions + PageSize - 1) / PageSize;

    /// <summary>Queries per tile of the prefill attention: what two warpgroups hold, or eight warps, of whose threads four bring a position of a page.</summary>
    public const int TileQueries = 128;

    /// <summary>Parts that the context of a decoding row is split into at most; how many depends on its length alone.</summary>
    public const int MaxSplits = 16;

    /// <summary>The widths of heads that attention kernels can be generated for: multiples of 16 up to this.</summary>
    public const int LargestHeadSize = 128, HeadSizeMultiple = 16;
}
