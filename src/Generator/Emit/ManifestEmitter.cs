using KernelGen.Generator.Emit.Cpu;
using KernelGen.Generator.Emit.Cuda;
using KernelGen.Generator.Emit.Ilgpu;
using KernelGen.Generator.Models;
using KernelGen.Generator.Planning;
using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit;

/// <summary>Writes a spec's public face: the <c>Kernels</c> property, with the manifest of what was generated and what was dropped.</summary>
internal static class ManifestEmitter
{
    public const string Part = "Kernels";

    /// <summary>The name of the generated property, which the class must not have already.</summary>
    public const string PropertyName = "Kernels";

    /// <summary>The nested class that holds the property's value; likewise.</summary>
    public const string HolderName = "KernelSetHolder";

    /// <summary>This generator's version.</summary>
    private static readonly string Version = typeof(ManifestEmitter).Assembly.GetName().Version.ToString(3);

    /// <param name="spec">The class.</param>
    /// <param name="cpu">What was planned for the processor.</param>
    /// <param name="cpuText">
    /// What was written for it: its hash tells kernels of the same name from each other when the generator has changed, so that no tuning record
    /// is taken for others. Of PTX, which the runtime has as text, the runtime computes such a hash.
    /// </param>
    /// <param name="hasIlgpu">Whether there is an ILGPU file.</param>
    public static string Emit(KernelSpec spec, CpuPlan cpu, string cpuText, bool hasIlgpu) => GeneratedFile.Write(spec.Type, writer =>
    {
        Int8Spec numbers = spec.Numbers;
        writer.Line("/// <summary>");
        writer.Line("/// LLM.int8() matrix multiplication (arXiv 2208.07339) specialized for this class: quantizes [N,K] weights, multiplies [M,K] activations.");
        writer.Line("/// </summary>");
        writer.Line("/// <remarks>");
        writer.Line($"/// Outliers: {numbers.Outliers}{(numbers.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements ? $", from |x| = {CSharpLiterals.Of(numbers.OutlierThreshold).TrimEnd('f')}" : string.Empty)}. Granularity: {numbers.Granularity}. Activations: {numbers.Activations}. Accumulation: {numbers.Accumulation}.");
        writer.Line("/// Variants:");
        writer.Line("/// <list type=\"bullet\">");
        foreach (CpuFamilyPlan family in cpu.Families)
        {
            foreach (int height in family.TileHeights)
            {
                writer.Line($"/// <item>{family.KernelName(height)}</item>");
            }
        }

        writer.Line("/// </list>");
        writer.Line("/// </remarks>");
        writer.Line($"public static global::KernelGen.Int8KernelSet {PropertyName} => {HolderName}.Set;");
        writer.Line();

        // In a class of its own, the set exists whenever it is asked for: also in the static initializers of the annotated class, which may run
        // before those of a generated part.
        using CodeWriter.Scope holder = writer.Block($"private static class {HolderName}");
        writer.Line("internal static readonly global::KernelGen.Int8KernelSet Set = new(");
        writer.Line($"    {CSharpLiterals.Of(spec.Type.DisplayName)},");
        writer.Line($"    new({CSharpLiterals.Of(numbers.Outliers)}, {CSharpLiterals.Of(numbers.OutlierThreshold)}, {CSharpLiterals.Of(numbers.Granularity)}, {CSharpLiterals.Of(numbers.Activations)}, {CSharpLiterals.Of(numbers.Accumulation)}),");
        writer.Line($"    {CpuEmitter.FamiliesExpression},");
        writer.Line("    new global::KernelGen.DroppedVariant[]");
        writer.Line("    {");
        foreach (DroppedTile dropped in cpu.Dropped)
        {
            writer.Line($"        new({CSharpLiterals.Of(dropped.KernelName)}, {CSharpLiterals.Of(dropped.Reason)}),");
        }

        if (CudaEmitter.Reject(spec) is { } reason)
        {
            writer.Line($"        new(\"int8_gemm_*_sm61, _sm80, _sm90a\", {CSharpLiterals.Of(reason)}),");
        }

        if (IlgpuPlanner.Reject(spec) is { } ilgpuReason)
        {
            writer.Line($"        new(\"int8_gemm_*_ilgpu\", {CSharpLiterals.Of(ilgpuReason)}),");
        }

        string cuda = CudaEmitter.AppliesTo(spec) ? $",\n    {CudaEmitter.VariantsExpression}" : "";
        string ilgpu = hasIlgpu ? $",\n    ilgpu: {IlgpuEmitter.VariantsExpression}" : "";
        writer.Line("    },");
        writer.Line($"    {CSharpLiterals.Of($"{Version}+{GeneratedFile.StableHash(cpuText)}")}{cuda}{ilgpu});");
    });
}
