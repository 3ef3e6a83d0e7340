using KernelGen.Generator.Emit.Cpu.X64;
using KernelGen.Generator.Models;
using KernelGen.Generator.Planning;

namespace KernelGen.Generator.Emit.Cpu;

/// <summary>Writes a spec's CPU file: a nested class with the row kernels of every vector width and the kernels of every family.</summary>
internal static class CpuEmitter
{
    public const string Part = "Cpu";

    /// <summary>The nested class, whose name the annotated class must not have already.</summary>
    public const string ContainerName = "CpuKernels";

    /// <summary>The expression by which the manifest reaches the families.</summary>
    public const string FamiliesExpression = ContainerName + ".Families";

    public static string Emit(KernelSpec spec, CpuPlan plan) => GeneratedFile.Write(spec.Type, writer =>
    {
        int[] widths = plan.Families.Select(family => family.Target.VectorBits).Distinct().OrderBy(bits => bits).ToArray();
        writer.Line($"/// <summary>CPU kernels of {spec.Type.DisplayName.Replace("<", "{").Replace(">", "}")}.</summary>");
        using (writer.Block($"private static class {ContainerName}"))
        {
            foreach (int bits in widths)
            {
                writer.Line($"private static readonly global::KernelGen.Kernels.CpuRowKernels {RowsField(bits)} = {CpuRowEmitter.Construct(spec, RowDialect.OfWidth(bits))};");
            }

            writer.Line();
            writer.Line("internal static global::KernelGen.Kernels.CpuKernelFamily[] Families { get; } = new global::KernelGen.Kernels.CpuKernelFamily[]");
            writer.Line("{");
            foreach (CpuFamilyPlan family in plan.Families)
            {
                WriteFamilyEntry(writer, family);
            }

            writer.Line("};");
            foreach (int bits in widths)
            {
                writer.Line();
                RowDialect dialect = RowDialect.OfWidth(bits);
                using (writer.Block($"private static class {dialect.ClassName}"))
                {
                    CpuRowEmitter.Write(writer, spec, dialect);
                }
            }

            foreach (CpuFamilyPlan family in plan.Families)
            {
                writer.Line();
                writer.Line($"/// <summary>{family.PanelWidth} output features a panel, {family.Target.Suffix}.</summary>");
                using (writer.Block($"private static class {ClassName(family)}"))
                {
                    if (family.Target.IsMachineCode)
                    {
                        X64GemmEmitter.Write(writer, family);
                    }
                    else
                    {
                        CpuGemmEmitter.Write(writer, family);
                    }

                    writer.Line();
                    CpuPackEmitter.Write(writer, family);
                    writer.Line();
                    CpuRowEmitter.WriteQuantizeRow(writer, spec.Numbers, RowDialect.OfWidth(family.Target.VectorBits), family.Target.Format);
                }
            }
        }
    });

    private static void WriteFamilyEntry(CodeWriter writer, CpuFamilyPlan family)
    {
        string className = ClassName(family);
        writer.Line("    new global::KernelGen.Kernels.CpuKernelFamily(");
        writer.Line($"        {CSharpLiterals.Of(family.InstructionSet)}, {family.PanelWidth}, {family.Target.K}, {CSharpLiterals.Of(family.Target.Format)}, {family.Target.PairLimit},");
        writer.Line($"        {className}.QuantizeRow, {className}.PackPanel, {RowsField(family.Target.VectorBits)},");
        writer.Line("        new global::KernelGen.Kernels.CpuGemmVariant[]");
        writer.Line("        {");
        foreach (int height in family.TileHeights)
        {
            CpuTile tile = family.Tile(height);
            string kernel = $"{className}.{CpuGemmEmitter.MethodName(tile)}";
            if (family.Target.IsMachineCode)
            {
                kernel = X64GemmEmitter.Construct(kernel, family.Target.UsesTiles(height));
            }

            writer.Line($"            new({CSharpLiterals.Of(family.KernelName(height))}, new({tile.M}, {tile.N}, {tile.K}), {kernel}),");
        }

        string wideRow = family.WideRow is { } wide
            ? $"new({CSharpLiterals.Of(KernelNames.CpuGemm(wide, family.Target))}, new({wide.M}, {wide.N}, {wide.K}), {className}.{CpuGemmEmitter.MethodName(wide)})"
            : "null";
        writer.Line($"        }}, {wideRow}),");
    }

    private static string ClassName(CpuFamilyPlan family) => $"{family.InstructionSet}Width{family.PanelWidth}";

    private static string RowsField(int bits) => $"{RowDialect.OfWidth(bits).ClassName}Kernels";
}
