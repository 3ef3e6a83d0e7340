using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text;

namespace KernelGen.Backends.Cpu;

/// <summary>What this machine's processor is.</summary>
internal static class CpuIdentity
{
    /// <summary>The first of the three CPUID leaves that hold the processor's name, 16 characters each.</summary>
    private const int NameLeaf = unchecked((int)0x80000002);

    /// <summary>What the processor calls itself; the architecture where it has no such name.</summary>
    public static string Name { get; } = ReadName();

    /// <summary>The architecture and the instruction sets that there are kernels for, e.g. <c>X64 avx2 avx512 avxvnni</c>.</summary>
    public static string Architecture { get; } = string.Join(' ', [
        RuntimeInformation.ProcessArchitecture.ToString(),
        .. CpuTarget.All
            .Where(static target => target.InstructionSet != CpuInstructionSet.Scalar && CpuFeatures.Supports(target.InstructionSet))
            .Select(static target => target.Suffix).Distinct().Order(StringComparer.Ordinal)]);

    private static string ReadName()
    {
        if (!X86Base.IsSupported || (uint)X86Base.CpuId(unchecked((int)0x80000000), 0).Eax < unchecked((uint)NameLeaf) + 2)
        {
            // Arm has no such instruction that a program may use.
            return $"{RuntimeInformation.ProcessArchitecture} processor";
        }

        int[] registers = new int[12];
        for (int i = 0; i < 3; i++)
        {
            (registers[4 * i], registers[(4 * i) + 1], registers[(4 * i) + 2], registers[(4 * i) + 3]) = X86Base.CpuId(NameLeaf + i, 0);
        }

        string name = Encoding.ASCII.GetString(MemoryMarshal.AsBytes<int>(registers));
        return string.Join(' ', name.TrimEnd('\0').Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }
}
