namespace KernelGen.Backends.Cuda;

/// <summary>A first guess at the fastest GEMM variant of a shape, from what kernels of its kind do; tuning records overrule it.</summary>
internal static class CudaKernelChoice
{
    public static CudaKernelVariant? Choose(CudaDevice device, IReadOnlyList<CudaKernelVariant> candidates, int m, int n, int k)
    {
        // Few rows: the narrowest streaming kernel that takes them all.
        CudaKernelVariant? streaming = candidates
            .Where(variant => variant.Role == CudaKernelRole.StreamGemm && variant.BlockM >= m)
            .MinBy(variant => variant.BlockM);
        return streaming ?? candidates
            .Where(variant => variant.Role != CudaKernelRole.StreamGemm)
            .OrderBy(variant => Rank(variant.Role))
            .ThenBy(variant => Cost(device, variant, m, n, k))
            .FirstOrDefault();
    }

    private static int Rank(CudaKernelRole role) => role switch
    {
        CudaKernelRole.WgmmaGemm => 0,
        CudaKernelRole.MmaGemm => 1,
        _ => 2,
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
