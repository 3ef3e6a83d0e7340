using System.Runtime.InteropServices;
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
    public static CpuDevice Describe()
    {
        CpuInstructionSet[] ranked = [.. CpuTarget.All.Select(static target => target.InstructionSet).OrderBy(CpuFeatures.Rank)];
        CpuInstructionSet preferred = ranked.First(CpuFeatures.Supports);
        return new CpuDevice(
            CpuIdentity.Name,
            RuntimeInformation.ProcessArchitecture.ToString(),
            Environment.ProcessorCount,
            GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            // Kernels may use one instruction set in two ways.
            [.. ranked.DistinctBy(static set => CpuTarget.Of(set).Suffix).Select(set => new CpuInstructionSetState(
                CpuTarget.Of(set).Suffix, CpuFeatures.Describe(set), CpuFeatures.Supports(set), set == preferred))]);
    }
}
