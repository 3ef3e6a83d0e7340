using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace KernelGen.Backends.Cpu;

/// <summary>What this processor, as the .NET runtime shows it, can run.</summary>
internal static class CpuFeatures
{
    /// <summary>From the fastest, 0, to the most portable.</summary>
    public static int Rank(CpuInstructionSet instructionSet) => instructionSet switch
    {
        CpuInstructionSet.AvxVnni => 0,
        CpuInstructionSet.Avx512 => 1,
        CpuInstructionSet.Avx2Bytes => 2,
        CpuInstructionSet.Avx2 => 3,
        CpuInstructionSet.ArmDp => 4,
        _ => 5,
    };

    public static bool Supports(CpuInstructionSet instructionSet) => instructionSet switch
    {
        CpuInstructionSet.Scalar => true,
        CpuInstructionSet.Avx2 or CpuInstructionSet.Avx2Bytes => Avx2.IsSupported && Fma.IsSupported,
        CpuInstructionSet.AvxVnni => Avx2.IsSupported && Fma.IsSupported && AvxVnni.IsSupported,
        CpuInstructionSet.Avx512 => Avx512F.VL.IsSupported && Avx512BW.VL.IsSupported && Avx512DQ.IsSupported,
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
        CpuInstructionSet.ArmDp => "Arm64 with AdvSimd and the dot product extension",
        _ => throw new ArgumentOutOfRangeException(nameof(instructionSet), instructionSet, "Not an instruction set."),
    };
}
