namespace KernelGen;

/// <summary>What a thread block makes 16-bit values of.</summary>
internal static class WidenTile
{
    /// <summary>Threads of a block, and pieces of 16 values that each takes.</summary>
    public const int Threads = 256, PiecesPerThread = 4;
}
