using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>The frame of a kernel: a static method, unchecked whatever the user's project says about overflow.</summary>
internal static class KernelMethod
{
    public static void Write(CodeWriter writer, IlgpuKernelPlan plan, string parameters, Action body)
    {
        writer.Line();
        using CodeWriter.Scope method = writer.Block(QualifiedNames.In($"private static void {plan.Name}({parameters})"));
        using CodeWriter.Scope arithmetic = writer.Block("unchecked");
        body();
    }

    /// <summary>The type of a delegate to a method with such parameters: ILGPU takes no other than Action.</summary>
    public static string DelegateOf(string parameters) => QualifiedNames.In(
        $"global::System.Action<{string.Join(", ", parameters.Split(',').Select(parameter => parameter.Trim().Split(' ')[0]))}>")
        .Replace("IlgpuGemmShape", "global::KernelGen.IlgpuGemmShape").Replace("IlgpuRowShape", "global::KernelGen.IlgpuRowShape");
}
