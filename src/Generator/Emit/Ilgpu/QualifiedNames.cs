using System.Text.RegularExpressions;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// Kernel text is written with the short names that a programmer of ILGPU would use; generated code must spell them out from <c>global::</c>,
/// whatever the user's class and its neighbours are called.
/// </summary>
internal static class QualifiedNames
{
    private static readonly Dictionary<string, string> Types = new()
    {
        ["ArrayView"] = "global::ILGPU.ArrayView",
        ["Group"] = "global::ILGPU.Group",
        ["Grid"] = "global::ILGPU.Grid",
        ["SharedMemory"] = "global::ILGPU.SharedMemory",
        ["Atomic"] = "global::ILGPU.Atomic",
        ["CudaAsm"] = "global::ILGPU.Runtime.Cuda.CudaAsm",
        ["IlgpuGemmShape"] = "global::KernelGen.IlgpuGemmShape",
        ["IlgpuRowShape"] = "global::KernelGen.IlgpuRowShape",
        ["BitConverter"] = "global::System.BitConverter",
        ["BitOperations"] = "global::System.Numerics.BitOperations",
        ["Math"] = "global::System.Math",
    };

    /// <summary>A type's name where it is not part of a longer one, and not a member of something.</summary>
    private static readonly Regex Pattern = new($@"(?<![\w.:])({string.Join("|", Types.Keys)})(?=[.<]| shape\b)", RegexOptions.CultureInvariant);

    /// <summary>The text with every known type's name in full.</summary>
    public static string In(string text) => Pattern.Replace(text, match => Types[match.Value]);
}
