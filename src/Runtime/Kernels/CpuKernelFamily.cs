using System.ComponentModel;

namespace KernelGen.Kernels;

/// <summary>
/// The generated CPU kernels that work on the same packed weights: one instruction set, one panel width NR, several tile heights MR.
/// </summary>
/// <param name="InstructionSet">What the processor must have.</param>
/// <param name="PanelWidth">NR, output features a panel.</param>
/// <param name="KGroup">c, values of k per 32-bit lane.</param>
/// <param name="Format">How the kernels read activations.</param>
/// <param name="PairLimit">The largest magnitude of the sum of two neighbouring packed weights, or 0 for any.</param>
/// <param name="QuantizeRow">Quantizes an activation row into <paramref name="Format"/>.</param>
/// <param name="PackPanel">Packs weight rows into a panel.</param>
/// <param name="Rows">The row kernels of the same vector width.</param>
/// <param name="Variants">The microkernels by ascending MR.</param>
/// <param name="WideRow">The microkernel of one row and several neighbouring panels; null where there is none.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CpuKernelFamily(
    CpuInstructionSet InstructionSet,
    int PanelWidth,
    int KGroup,
    ActivationFormat Format,
    int PairLimit,
    CpuQuantizeRow QuantizeRow,
    CpuPackPanel PackPanel,
    CpuRowKernels Rows,
    IReadOnlyList<CpuGemmVariant> Variants,
    CpuGemmRowVariant? WideRow)
{
    /// <summary>Its place in <see cref="Int8KernelSet.CpuFamilies"/>, which sets it.</summary>
    internal int Index { get; set; }

    /// <summary>For every number of rows up to the tallest tile the lowest tile that takes them; index 0 is the one for a single row.</summary>
    internal CpuGemmVariant[] ByRows { get; } =
        [.. Enumerable.Range(1, Variants[^1].Tile.M).Select(rows => Variants.First(variant => variant.Tile.M >= rows))];
}

/// <summary>One generated microkernel.</summary>
/// <param name="Name">The computed kernel name, e.g. <c>int8_gemm_s8_s32_4x16c2_avx2</c>.</param>
/// <param name="Tile">Its register tile.</param>
/// <param name="Gemm">The kernel.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CpuGemmVariant(string Name, CpuTile Tile, CpuGemm Gemm);

/// <summary>The generated microkernel of one row and several panels.</summary>
/// <param name="Name">The computed kernel name, e.g. <c>int8_gemm_s8_s32_1x64c2_avx2</c>.</param>
/// <param name="Tile">Its register tile, some panels wide.</param>
/// <param name="Gemm">The kernel.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CpuGemmRowVariant(string Name, CpuTile Tile, CpuGemmRow Gemm);
