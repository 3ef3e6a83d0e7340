using System.Numerics;

namespace KernelGen.Inference.Devices;

/// <summary>The sizes that steps are captured for.</summary>
internal static class BatchBuckets
{
    /// <summary>Rows: 1, 2, 4, 8, then by half a power of two (12, 16, 24, 32, ...), so that a third at most is spent on rows without a token.</summary>
    public static int Of(int rows, int most)
    {
        int power = (int)BitOperations.RoundUpToPowerOf2((uint)rows);
        int half = power / 4 * 3;
        return Math.Min(power > 8 && rows <= half ? half : power, most);
    }

    /// <summary>Positions: powers of two of pages.</summary>
    public static int OfContext(int positions, int most)
    {
        uint pages = (uint)DecoderRow.PagesFor(positions);
        return (int)Math.Min((long)BitOperations.RoundUpToPowerOf2(pages) * DecoderRow.PageSize, most);
    }
}
