using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Parsing;

/// <summary>Whether a project can compile ILGPU kernels.</summary>
internal static class IlgpuReference
{
    private const string Assembly = "ILGPU", Module = Assembly + ".dll";

    public static bool IsIn(Compilation compilation) => compilation.References.Any(Is);

    /// <summary>Whether a reference is the library, by its name: references stay the same while code is typed, so that nothing is asked again.</summary>
    public static bool Is(MetadataReference reference) => reference switch
    {
        CompilationReference project => project.Compilation.AssemblyName == Assembly,
        PortableExecutableReference { FilePath: { } path } => string.Equals(Path.GetFileName(path), Module, StringComparison.OrdinalIgnoreCase),

        // From memory: there is no path, but the module knows its name.
        PortableExecutableReference file => file.GetMetadata() is AssemblyMetadata metadata && metadata.GetModules()[0].Name == Module,
        _ => false,
    };
}
