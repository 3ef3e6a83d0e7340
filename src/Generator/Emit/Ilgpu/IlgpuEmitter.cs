using KernelGen.Generator.Models;
using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>Writes a spec's ILGPU file: a nested class with a static method per kernel, the functions they share, and the list of what each needs.</summary>
internal static class IlgpuEmitter
{
    public const string Part = "Ilgpu";

    /// <summary>The generated class.</summary>
    public const string ContainerName = "IlgpuKernels";

    /// <summary>The expression by which the manifest reaches the variants.</summary>
    public const string VariantsExpression = ContainerName + ".Variants";

    private const string Variant = "global::KernelGen.Backends.Ilgpu.IlgpuKernelVariant";

    public static string Emit(KernelSpec spec, EquatableArray<IlgpuKernelPlan> plans) => GeneratedFile.Write(spec.Type, writer =>
    {
        writer.Line($"/// <summary>ILGPU kernels of {spec.Type.DisplayName.Replace("<", "{").Replace(">", "}")}.</summary>");
        using CodeWriter.Scope container = writer.Block($"private static class {ContainerName}");
        writer.Line($"internal static {Variant}[] Variants {{ get; }} = new {Variant}[]");
        writer.Line("{");
        foreach (IlgpuKernelPlan plan in plans)
        {
            writer.Line(
                $"    new({CSharpLiterals.Of(plan.Name)}, {CSharpLiterals.Of(plan.Role)}, {CSharpLiterals.Of(plan.Instruction)}, "
                + $"{plan.BlockM}, {plan.BlockN}, {plan.Threads}, {plan.GroupsPerMultiprocessor}, {plan.SharedBytes}, new {DelegateOf(plan)}({plan.Name})),");
        }

        writer.Line("};");
        foreach (IlgpuKernelPlan plan in plans)
        {
            Write(writer, plan);
        }

        foreach (string helpers in new[] { GemmEpilogue.Helpers(spec.Numbers.Outliers), ElementAccess.Text, ActivationCurves.Text, ExactMath.Text })
        {
            writer.Line();
            writer.Line(QualifiedNames.In(helpers));
        }
    });

    private static string DelegateOf(IlgpuKernelPlan plan) =>
        plan.Role is IlgpuKernelRole.TileGemm or IlgpuKernelRole.FewRowGemm ? KernelMethod.DelegateOf(GemmEpilogue.Parameters) : RowKernels.DelegateOf(plan);

    private static void Write(CodeWriter writer, IlgpuKernelPlan plan)
    {
        switch (plan.Role)
        {
            case IlgpuKernelRole.FewRowGemm:
                FewRowGemm.Write(writer, plan);
                break;
            case IlgpuKernelRole.TileGemm when plan.Instruction == IlgpuInstruction.Portable:
                PortableTileGemm.Write(writer, plan);
                break;
            case IlgpuKernelRole.TileGemm:
                CudaTileGemm.Write(writer, plan);
                break;
            default:
                RowKernels.Write(writer, plan);
                break;
        }
    }
}
