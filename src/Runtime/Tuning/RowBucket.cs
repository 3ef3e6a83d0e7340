using System.Numerics;

namespace KernelGen.Tuning;

/// <summary>
/// M as tuning distinguishes it: which kernel is fastest changes with its magnitude, and no two batches are alike. N and K are a layer's own and
/// stay exact.
/// </summary>
internal static class RowBucket
{
    /// <summary>1, 2-4, 5-16, 17-64, 65-256, 257-1024, and above.</summary>
    public const int Count = 7;

    /// <summary>The bucket of M rows, 0 to 6.</summary>
    public static int Of(int rows) => rows <= 1 ? 0 : Math.Min((BitOperations.Log2((uint)(rows - 1)) / 2) + 1, Count - 1);

    /// <summary>The fewest rows of a bucket.</summary>
    public static int From(int bucket) => bucket == 0 ? 1 : (1 << (2 * (bucket - 1))) + 1;

    /// <summary>The most rows of a bucket; <see cref="int.MaxValue"/> for the last.</summary>
    public static int To(int bucket) => bucket == Count - 1 ? int.MaxValue : 1 << (2 * bucket);

    /// <summary>The rows that stand for a bucket when it is tuned: its most, or 2048.</summary>
    public static int Representative(int bucket) => bucket == Count - 1 ? 2048 : To(bucket);
}
