using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace KernelGen.Backends.Cpu;

/// <summary>What this processor, as the .NET runtime shows it, can run.</summary>
internal static class CpuFeatures
{
    /// <summary>CPUID leaf 7, ECX bit 11; .NET has no class for it. Whether the system keeps the registers is known from AVX-512 F.</summary>
    private static bool HasAvx512Vnni { get; } = X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= 7 && (X86Base.CpuId(7, 0).Ecx & (1 << 11)) != 0;

    /// <summary>From the fastest, 0, to the most portable.</summary>
    public static int Rank(CpuInstructionSet instructionSet) => instructionSet switch
    {
        CpuInstructionSet.Amx => 0,
        CpuInstructionSet.Avx512Vnni => 1,
        CpuInstructionSet.AvxVnni => 2,
        CpuInstructionSet.Avx512 => 3,
        CpuInstructionSet.Avx2Bytes => 4,
        CpuInstructionSet.Avx2 => 5,
        CpuInstructionSet.ArmDp => 6,
        _ => 7,
    };

    public static bool Supports(CpuInstructionSet instructionSet) => instructionSet switch
    {
        CpuInstructionSet.Scalar => true,
        CpuInstructionSet.Avx2 or CpuInstructionSet.Avx2Bytes => Avx2.IsSupported && Fma.IsSupported,
        CpuInstructionSet.AvxVnni => Avx2.IsSupported && Fma.IsSupported && AvxVnni.IsSupported,
        CpuInstructionSet.Avx512 => Avx512F.VL.IsSupported && Avx512BW.VL.IsSupported && Avx512DQ.IsSupported,
        CpuInstructionSet.Avx512Vnni => Supports(CpuInstructionSet.Avx512) && HasAvx512Vnni && ExecutableMemory.IsAvailable,
        CpuInstructionSet.Amx => Supports(CpuInstructionSet.Avx512Vnni) && AmxPermission.IsGranted,
        CpuInstructionSet.ArmDp => AdvSimd.Arm64.IsSupported && Dp.Arm64.IsSupported,
        _ => throw new ArgumentOutOfRangeException(nameof(instructionSet), instructionSet, "Not an instruction set."),
    };

    /// <summary>What a device must have for an instruction set, in words.</summary>
    public static string Describe(CpuInstructionSet instructionSet) => instructionSet switch
    {
        CpuInstructionSet.Scalar => "any processor",
        CpuInstructionSet.Avx2 or CpuInstructionSet.Avx2Bytes => "x64 with AVX2 and FMA",
        CpuInstructionSet.AvxVnni => "x64 with AVX2, FMA and AVX-VNNI",
        CpuInstructionSet.Avx512 => "x64 with AVX-512 F, BW, DQ and VL",
        CpuInstructionSet.Avx512Vnni => "x64 with AVX-512 F, BW, DQ, VL and VNNI, and leave to map executable memory",
        CpuInstructionSet.Amx => "Linux on x64 with AVX-512 F, BW, DQ, VL and VNNI, AMX-INT8, and leave to map executable memory",
        CpuInstructionSet.ArmDp => "Arm64 with AdvSimd and the dot product extension",
        _ => throw new ArgumentOutOfRangeException(nameof(instructionSet), instructionSet, "Not an instruction set."),
    };
}
