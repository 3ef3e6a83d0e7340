using KernelGen.Generator.Models;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>Writes a decoder spec's file: the public set of kernels, and their PTX in a nested class.</summary>
internal static class DecoderEmitter
{
    public const string Part = "Decoder";

    /// <summary>The generated property.</summary>
    public const string PropertyName = "DecoderKernels";

    /// <summary>The nested class that holds the kernels.</summary>
    public const string ContainerName = "DecoderKernelTexts";

    public static string Emit(DecoderSpec spec) => GeneratedFile.Write(spec.Type, writer =>
    {
        IReadOnlyList<DecoderKernelPlan> plans = DecoderPlanner.Plan(spec.HeadSizes);
        string sizes = string.Join(", ", spec.HeadSizes.Select(CSharpLiterals.Of));
        writer.Line("/// <summary>");
        writer.Line($"/// CUDA kernels of a decoder around its int8 multiplications. Widths of heads: {sizes}.");
        writer.Line("/// </summary>");
        writer.Line($"public static global::KernelGen.DecoderKernelSet {PropertyName} => {ContainerName}.Set;");
        writer.Line();
        using (writer.Block($"private static class {ContainerName}"))
        {
            writer.Line($"internal static readonly global::KernelGen.DecoderKernelSet Set = new({CSharpLiterals.Of(spec.Type.DisplayName)}, new[] {{ {sizes} }}, new global::KernelGen.Backends.Cuda.CudaKernelVariant[]");
            writer.Line("{");
            foreach (DecoderKernelPlan plan in plans)
            {
                writer.Line(
                    $"    new({CSharpLiterals.Of(plan.Name)}, {CSharpLiterals.Of(CudaKernelRole.DecoderStep)}, {plan.Capability}, {(plan.Body.IsArchitectureSpecific ? "true" : "false")}, {CSharpLiterals.Of(plan.Format)}, "
                    + $"0, 0, false, {plan.Threads}, {plan.SharedBytes}, static () => {plan.Name}),");
            }

            writer.Line("});");
            foreach (DecoderKernelPlan plan in plans)
            {
                writer.Line();
                writer.Line($"private static global::System.ReadOnlySpan<byte> {plan.Name} =>");
                writer.Verbatim($"\"\"\"\n{DecoderKernelText.Of(plan)}\"\"\"u8;\n");
            }
        }
    });
}
