using KernelGen.Backends.Cpu;
using KernelGen.Kernels;

namespace KernelGen.Tuning;

/// <summary>The loops of <see cref="CpuPeakLoop"/> in machine code, for instructions that .NET has no class for.</summary>
internal static unsafe class CpuPeakCode
{
    private static readonly Lazy<nint> _vectors = new(static () => ExecutableMemory.LoadFunction(Vectors));

    private static readonly Lazy<nint> _tiles = new(static () => ExecutableMemory.Load(Tiles));

    /// <summary>Products of 12 vectors of 64 bytes.</summary>
    public const int VectorProducts = 12 * 64;

    /// <summary>Products of four tiles of 16 x 16 sums over 64 of K.</summary>
    public const int TileProducts = 4 * 16 * 16 * 64;

    private static ReadOnlySpan<byte> Vectors =>
    [
        0x48, 0x89, 0xF9,                            // mov rcx, rdi
        0x62, 0xA1, 0x7D, 0x40, 0xEF, 0xC0,          // vpxord zmm16, zmm16, zmm16
        0x62, 0xA1, 0x75, 0x40, 0xEF, 0xC9,          // vpxord zmm17, zmm17, zmm17
        0x62, 0xA1, 0x6D, 0x40, 0xEF, 0xD2,          // vpxord zmm18, zmm18, zmm18
        0x62, 0xA1, 0x65, 0x40, 0xEF, 0xDB,          // vpxord zmm19, zmm19, zmm19
        0x62, 0xA1, 0x5D, 0x40, 0xEF, 0xE4,          // vpxord zmm20, zmm20, zmm20
        0x62, 0xA1, 0x55, 0x40, 0xEF, 0xED,          // vpxord zmm21, zmm21, zmm21
        0x62, 0xA1, 0x4D, 0x40, 0xEF, 0xF6,          // vpxord zmm22, zmm22, zmm22
        0x62, 0xA1, 0x45, 0x40, 0xEF, 0xFF,          // vpxord zmm23, zmm23, zmm23
        0x62, 0x01, 0x3D, 0x40, 0xEF, 0xC0,          // vpxord zmm24, zmm24, zmm24
        0x62, 0x01, 0x35, 0x40, 0xEF, 0xC9,          // vpxord zmm25, zmm25, zmm25
        0x62, 0x01, 0x2D, 0x40, 0xEF, 0xD2,          // vpxord zmm26, zmm26, zmm26
        0x62, 0x01, 0x25, 0x40, 0xEF, 0xDB,          // vpxord zmm27, zmm27, zmm27
        0x62, 0xF1, 0x7D, 0x48, 0xEF, 0xC0,          // vpxord zmm0, zmm0, zmm0
        0x62, 0xF1, 0x75, 0x48, 0xEF, 0xC9,          // vpxord zmm1, zmm1, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xC1,          // vpdpbusd zmm16, zmm0, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xC9,          // vpdpbusd zmm17, zmm0, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xD1,          // vpdpbusd zmm18, zmm0, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xD9,          // vpdpbusd zmm19, zmm0, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xE1,          // vpdpbusd zmm20, zmm0, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xE9,          // vpdpbusd zmm21, zmm0, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xF1,          // vpdpbusd zmm22, zmm0, zmm1
        0x62, 0xE2, 0x7D, 0x48, 0x50, 0xF9,          // vpdpbusd zmm23, zmm0, zmm1
        0x62, 0x62, 0x7D, 0x48, 0x50, 0xC1,          // vpdpbusd zmm24, zmm0, zmm1
        0x62, 0x62, 0x7D, 0x48, 0x50, 0xC9,          // vpdpbusd zmm25, zmm0, zmm1
        0x62, 0x62, 0x7D, 0x48, 0x50, 0xD1,          // vpdpbusd zmm26, zmm0, zmm1
        0x62, 0x62, 0x7D, 0x48, 0x50, 0xD9,          // vpdpbusd zmm27, zmm0, zmm1
        0x48, 0xFF, 0xC9,                            // dec rcx
        0x75, 0xB3,                                  // jne 0x57
        0xC5, 0xF8, 0x77,                            // vzeroupper
        0xC3,                                        // ret
    ];

    private static ReadOnlySpan<byte> Tiles =>
    [
        0xC4, 0xE2, 0x78, 0x49, 0x06,                // ldtilecfg [rsi]
        0xC4, 0xE2, 0x49, 0x5E, 0xC4,                // tdpbusd tmm0, tmm4, tmm6
        0xC4, 0xE2, 0x41, 0x5E, 0xCC,                // tdpbusd tmm1, tmm4, tmm7
        0xC4, 0xE2, 0x49, 0x5E, 0xD5,                // tdpbusd tmm2, tmm5, tmm6
        0xC4, 0xE2, 0x41, 0x5E, 0xDD,                // tdpbusd tmm3, tmm5, tmm7
        0x48, 0xFF, 0xCF,                            // dec rdi
        0x75, 0xE7,                                  // jne 0x5
        0xC4, 0xE2, 0x78, 0x49, 0xC0,                // tilerelease
        0xC3,                                        // ret
    ];

    public static void RunVectors(int rounds) => ((delegate* unmanaged<nint, void>)_vectors.Value)(rounds);

    public static void RunTiles(int rounds) =>
        ((delegate* unmanaged<nint, byte*, void>)_tiles.Value)(rounds, CpuMachineCode.TileConfigurations.OfStep(CpuMachineCode.TileConfigurations.MostGroups));
}
