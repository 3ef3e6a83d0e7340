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

    /// <summary>Waves of tiles, each as long as its products plus a fixed part, in units of a 128 x 128 x 128 product.</summary>
    private static double Cost(CudaDevice device, CudaKernelVariant variant, int m, int n, int k)
    {
        long tiles = (long)CeilingDivide(m, variant.BlockM * variant.Cluster) * variant.Cluster * CeilingDivide(n, variant.BlockN);
        long waves = (tiles + device.Multiprocessors - 1) / device.Multiprocessors;
        double products = (double)variant.BlockM * variant.BlockN * k / (128.0 * 128 * 128);

        // Narrow tiles reload their operands more often than they use them.
        double reload = 1 + (0.25 * ((128.0 / variant.BlockN) - 0.5));
        return waves * ((products * reload) + 2);
    }

    private static int CeilingDivide(int a, int b) => (a + b - 1) / b;
}
