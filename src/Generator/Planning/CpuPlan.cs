using KernelGen.Generator.Models;

namespace KernelGen.Generator.Planning;

/// <summary>What to generate for the CPU.</summary>
/// <param name="Families">The kernels, grouped by what packed weights they share.</param>
/// <param name="Dropped">The combinations that were not taken.</param>
/// <param name="FallenBack">Instruction sets for which the spec's lists left nothing, so that the curated tiles took their place.</param>
internal sealed record CpuPlan(
    EquatableArray<CpuFamilyPlan> Families, EquatableArray<DroppedTile> Dropped, EquatableArray<string> FallenBack);

/// <summary>One instruction set, one panel width, the tile heights in ascending order.</summary>
internal sealed record CpuFamilyPlan(CpuInstructionSet InstructionSet, int PanelWidth, EquatableArray<int> TileHeights)
{
    public CpuTarget Target => CpuTarget.Of(InstructionSet);

    public CpuTile Tile(int height) => new(height, PanelWidth, Target.K);

    /// <summary>One row and several panels at once, where that is of use.</summary>
    public CpuTile? WideRow => Target.PanelsSideBySide(PanelWidth) is > 1 and var panels ? new CpuTile(1, panels * PanelWidth, Target.K) : null;

    public string KernelName(int height) => KernelNames.CpuGemm(Tile(height), Target);
}

/// <summary>A combination of the spec's lists that no kernel is generated for.</summary>
internal sealed record DroppedTile(string KernelName, string Reason);
