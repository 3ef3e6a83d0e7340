namespace KernelGen;

/// <summary>Tiles of the 16-bit multiplication by wgmma.</summary>
internal static class WgmmaFloatTile
{
    /// <summary>Rows of a tile.</summary>
    public const int Rows = 128;

    /// <summary>Output features of a tile where there are many of them, and where there are few, so that fewer multiprocessors are idle.</summary>
    public const int ManyFeatures = 256, FewFeatures = 64;
}
