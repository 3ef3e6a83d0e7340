using KernelGen.Generator.Models;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>Writes a spec's CUDA file: a nested class with the complete PTX text of every kernel and the list of what each needs.</summary>
internal static class CudaEmitter
{
    public const string Part = "Cuda";

    /// <summary>The generated class.</summary>
    public const string ContainerName = "CudaKernels";

    /// <summary>The expression by which the manifest reaches the variants.</summary>
    public const string VariantsExpression = ContainerName + ".Variants";

    private const string Backend = "global::KernelGen.Backends.Cuda.";

    /// <summary>Whether the spec has CUDA kernels.</summary>
    public static bool AppliesTo(KernelSpec spec) => (spec.Targets & KernelTargets.Cuda) != 0 && Reject(spec) is null;

    /// <summary>Why a spec that asks for CUDA kernels gets none, or null.</summary>
    public static string? Reject(KernelSpec spec) =>
        (spec.Targets & KernelTargets.Cuda) != 0 && spec.Numbers.Accumulation == Accumulation.Int64
            ? "CUDA kernels sum in 32 bits; a class with Accumulation.Int64 multiplies on the processor"
            : null;

    public static string Emit(KernelSpec spec) => GeneratedFile.Write(spec.Type, writer =>
    {
        IReadOnlyList<CudaKernelPlan> plans = CudaPlanner.Plan(spec.Numbers);
        writer.Line($"/// <summary>CUDA kernels of {spec.Type.DisplayName.Replace("<", "{").Replace(">", "}")}.</summary>");
        using (writer.Block($"private static class {ContainerName}"))
        {
            writer.Line($"internal static {Backend}CudaKernelVariant[] Variants {{ get; }} = new {Backend}CudaKernelVariant[]");
            writer.Line("{");
            foreach (CudaKernelPlan plan in plans)
            {
                writer.Line(
                    $"    new({CSharpLiterals.Of(plan.Name)}, {CSharpLiterals.Of(plan.Role)}, {plan.Capability}, {(plan.ArchitectureSpecific ? "true" : "false")}, {CSharpLiterals.Of(plan.Format)}, "
                    + $"{plan.BlockM}, {plan.BlockN}, {(plan.Alternating ? "true" : "false")}, {plan.Threads}, {plan.SharedBytes}, static () => {plan.Name}),");
            }

            writer.Line("};");
            foreach (CudaKernelPlan plan in plans)
            {
                // The raw string stands at the margin: PTX is most of the file, and indentation would be most of the rest.
                writer.Line();
                writer.Line($"private static global::System.ReadOnlySpan<byte> {plan.Name} =>");
                writer.Verbatim($"\"\"\"\n{CudaKernelText.Of(plan)}\"\"\"u8;\n");
            }
        }
    });
}
