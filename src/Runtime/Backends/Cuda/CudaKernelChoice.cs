namespace KernelGen.Backends.Cuda;

/// <summary>A first guess at the fastest GEMM variant of a shape, from what kernels of its kind do; tuning records overrule it.</summary>
internal static class CudaKernelChoice
{
    /// <summary>The best guess among those that take so many rows; null where there is none. Allocates nothing.</summary>
    public static CudaKernelVariant? Choose(CudaDevice device, IReadOnlyList<CudaKernelVariant> candidates, int m, int n, int k)
    {
        CudaKernelVariant? best = null;
        (int Rank, double Cost) least = (int.MaxValue, 0);
        for (int i = 0; i < candidates.Count; i++)
        {
            CudaKernelVariant variant = candidates[i];
            if (!variant.Takes(m))
            {
                continue;
            }

            // Few rows: the narrowest streaming kernel that takes them all.
            (int Rank, double Cost) score = (Rank(variant.Role), variant.Role == CudaKernelRole.StreamGemm ? variant.BlockM : Cost(device, variant, m, n, k));
            if (score.CompareTo(least) < 0)
            {
                (best, least) = (variant, score);
            }
        }

        return best;
    }

    private static int Rank(CudaKernelRole role) => role switch
    {
        CudaKernelRole.StreamGemm => 0,
        CudaKernelRole.WgmmaGemm => 1,
        CudaKernelRole.MmaGemm => 2,
        _ => 3,
    };

    /// <summary>
    /// Clock cycles, by a model that was fitted to an H200: waves of tiles, each as long as its K blocks of 128 and, where nothing hides it, its
    /// epilogue.
    /// </summary>
    private static double Cost(CudaDevice device, CudaKernelVariant variant, int m, int n, int k)
    {
        long tiles = (long)CeilingDivide(m, variant.BlockM) * CeilingDivide(n, variant.BlockN);
        double waves = Math.Ceiling((double)tiles / device.Multiprocessors);
        int blocks = CeilingDivide(k, 128);

        // A 128 x 128 x 128 product takes 512 cycles at full rate; narrow tiles wait for their operands.
        (double perBlock, double perTile, double once) = variant switch
        {
            { Alternating: true } => (604, 0, 2000),
            { BlockN: >= 256 } => (1085, 2600, 0),
            { BlockN: >= 128, BlockM: >= 128 } => (563, 1300, 0),
            { BlockN: >= 128 } => (512 * (variant.BlockM + 96) / 224.0, 1300, 0),
            _ => (486, 900, 0),
        };
        return (waves * ((blocks * perBlock) + perTile)) + once;
    }

    private static int CeilingDivide(int a, int b) => (a + b - 1) / b;
}
