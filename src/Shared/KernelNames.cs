namespace KernelGen;

/// <summary>Kernel names are computed from what the kernel is, never invented: logs, tuning records and generated methods agree.</summary>
internal static class KernelNames
{
    /// <summary>For example <c>int8_gemm_s8_s32_4x16c2_avx2</c>.</summary>
    public static string CpuGemm(CpuTile tile, CpuTarget target) =>
        $"int8_gemm_{ElementName(target.Format)}_s32_{tile}_{target.Suffix}";

    private static string ElementName(ActivationFormat format) => format == ActivationFormat.UInt8 ? "u8s8" : "s8";
}
