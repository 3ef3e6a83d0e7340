using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text;
using KernelGen.Backends.Cpu;

namespace KernelGen.Cli.Devices;

/// <summary>An instruction set that CPU kernels are generated for.</summary>
/// <param name="Name">How kernel names spell it.</param>
/// <param name="Needs">What a processor must have for it, in words.</param>
/// <param name="Available">Whether this one has it.</param>
/// <param name="Preferred">Whether kernels for it are the first choice here.</param>
internal sealed record CpuInstructionSetState(string Name, string Needs, bool Available, bool Preferred);

/// <summary>This machine's processor, as KernelGen sees it.</summary>
/// <param name="Name">What the processor calls itself.</param>
/// <param name="Architecture">Its architecture.</param>
/// <param name="LogicalProcessors">Processors that this process may use.</param>
/// <param name="MemoryBytes">Memory that this process may use.</param>
/// <param name="InstructionSets">Every instruction set that kernels exist for, from the fastest.</param>
internal sealed record CpuDevice(
    string Name, string Architecture, int LogicalProcessors, long MemoryBytes, IReadOnlyList<CpuInstructionSetState> InstructionSets)
{
    /// <summary>The first of the three CPUID leaves that hold the processor's name, 16 characters each.</summary>
    private const int NameLeaf = unchecked((int)0x80000002);

    public static CpuDevice Describe()
    {
        CpuInstructionSet[] ranked = [.. CpuTarget.All.Select(static target => target.InstructionSet).OrderBy(CpuFeatures.Rank)];
        CpuInstructionSet preferred = ranked.First(CpuFeatures.Supports);
        return new CpuDevice(
            ReadName(),
            RuntimeInformation.ProcessArchitecture.ToString(),
            Environment.ProcessorCount,
            GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            // Kernels may use one instruction set in two ways.
            [.. ranked.DistinctBy(static set => CpuTarget.Of(set).Suffix).Select(set => new CpuInstructionSetState(
                CpuTarget.Of(set).Suffix, CpuFeatures.Describe(set), CpuFeatures.Supports(set), set == preferred))]);
    }

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
