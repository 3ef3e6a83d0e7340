using System.Globalization;
using KernelGen.Generator.Planning;

namespace KernelGen.Generator.Emit.Cpu.X64;

/// <summary>Writes the microkernels of a family of machine code: bytes, an instruction a line, with the offset and text of each.</summary>
internal static class X64GemmEmitter
{
    private const int TextColumn = 64;

    public static void Write(CodeWriter writer, CpuFamilyPlan family)
    {
        foreach (int height in family.TileHeights)
        {
            if (height != family.TileHeights[0])
            {
                writer.Line();
            }

            CpuTile tile = family.Tile(height);
            bool tiles = family.Target.UsesTiles(height);
            X64Assembler code = tiles ? X64TileGemmCode.Assemble(tile) : X64GemmCode.Assemble(tile, family.Target.Registers);
            string sums = tiles
                ? $"{CSharpLiterals.Of(tile.M / CpuTarget.TileRows * tile.N / family.Target.Lanes)} tiles of sums, up to 64 of K a step"
                : $"{CSharpLiterals.Of(tile.M * tile.N / family.Target.Lanes)} accumulators, {CSharpLiterals.Of(tile.K)} of K a step";
            writer.Line($"/// <summary>{family.KernelName(height)}: {tile.M} x {tile.N} results in {sums}; {CSharpLiterals.Of(code.Length)} bytes of machine code.</summary>");
            writer.Line($"internal static global::System.ReadOnlySpan<byte> {CpuGemmEmitter.MethodName(tile)} => new byte[]");
            writer.Line("{");
            int offset = 0;
            foreach ((byte[] bytes, string text) in code.Instructions)
            {
                string literals = string.Join(" ", bytes.Select(b => $"0x{b.ToString("X2", CultureInfo.InvariantCulture)},"));
                writer.Line($"    {literals.PadRight(TextColumn)} // {CSharpLiterals.Of(offset)}: {text}");
                offset += bytes.Length;
            }

            writer.Line("};");
        }
    }

    /// <summary>The expression that makes a kernel of a property with machine code.</summary>
    public static string Construct(string property, bool tiles) =>
        $"global::KernelGen.Kernels.CpuMachineCode.{(tiles ? "TileGemm" : "Gemm")}(static () => {property})";
}
