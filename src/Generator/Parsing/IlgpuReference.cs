using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Parsing;

/// <summary>Whether a project can compile ILGPU kernels: a look at one type that the library has.</summary>
internal static class IlgpuReference
{
    private const string KnownType = "ILGPU.Index1D";

    public static bool IsIn(Compilation compilation) => compilation.GetTypeByMetadataName(KnownType) is not null;
}
