extern alias runtime;

using System.Collections.Immutable;
using KernelGen.Tests;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Generator.Tests.Infrastructure;

/// <summary>Compilations as a user's project would have them: strict, with the runtime referenced.</summary>
internal static class UserProject
{
    private static readonly ImmutableArray<MetadataReference> References =
    [
        .. Directory.EnumerateFiles(Path.GetDirectoryName(typeof(object).Assembly.Location)!, "*.dll")
            .Where(IsFrameworkAssembly)
            .Select(path => MetadataReference.CreateFromFile(path)),
        MetadataReference.CreateFromFile(typeof(runtime::KernelGen.Int8KernelAttribute).Assembly.Location),
    ];

    private static readonly Lazy<MetadataReference> IlgpuStandIn = new(static () => CompileIlgpuStandIn());

    /// <summary>A reference to what stands for ILGPU.</summary>
    public static MetadataReference Ilgpu => IlgpuStandIn.Value;

    /// <summary>Comments are parsed and checked, which is more than a project without a documentation file asks for.</summary>
    public static CSharpParseOptions ParseOptions { get; } = new(LanguageVersion.CSharp13, DocumentationMode.Diagnose);

    /// <summary>A library of the sources, one file each, named <c>File0.cs</c>, <c>File1.cs</c> ...</summary>
    public static CSharpCompilation Create(params string[] sources) => Create(ParseOptions, sources);

    public static CSharpCompilation Create(CSharpParseOptions parseOptions, params string[] sources) =>
        Create(sources.Select((source, index) => Parse(source, $"File{index}.cs", parseOptions)));

    /// <summary>A library that references ILGPU.</summary>
    public static CSharpCompilation CreateWithIlgpu(params string[] sources) => Create(sources).AddReferences(Ilgpu);

    /// <summary>The same as a document of a workspace, where fixes are applied.</summary>
    public static Document OpenIn(AdhocWorkspace workspace, string source)
    {
        CSharpCompilation compilation = Create(source);
        Project project = workspace.CurrentSolution
            .AddProject(compilation.AssemblyName!, compilation.AssemblyName!, LanguageNames.CSharp)
            .WithCompilationOptions(compilation.Options)
            .WithParseOptions(ParseOptions)
            .WithMetadataReferences(References);
        return project.AddDocument("File0.cs", compilation.SyntaxTrees[0].GetText(), filePath: "File0.cs");
    }

    public static SyntaxTree Parse(string source, string path, CSharpParseOptions? parseOptions = null) =>
        CSharpSyntaxTree.ParseText($"using KernelGen;\n{source}", parseOptions ?? ParseOptions, path);

    private static CSharpCompilation Create(IEnumerable<SyntaxTree> trees) => CSharpCompilation.Create(
        "UserProject",
        trees,
        References,
        new CSharpCompilationOptions(
            OutputKind.DynamicallyLinkedLibrary,
            warningLevel: 9999,
            generalDiagnosticOption: ReportDiagnostic.Error,
            nullableContextOptions: NullableContextOptions.Enable,
            allowUnsafe: false));

    private static PortableExecutableReference CompileIlgpuStandIn()
    {
        string path = Path.Combine(RepositoryPaths.Root, "tests", "Generator.Tests", "StandIns", "ILGPU.cs");
        CSharpCompilation library = CSharpCompilation.Create(
            "ILGPU",
            [CSharpSyntaxTree.ParseText(File.ReadAllText(path), new CSharpParseOptions(LanguageVersion.CSharp13), path)],
            References,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable));
        using MemoryStream image = new();
        Assert.Empty(library.Emit(image).Diagnostics);
        return MetadataReference.CreateFromImage(image.ToArray());
    }

    private static bool IsFrameworkAssembly(string path)
    {
        string name = Path.GetFileName(path);
        return name is "mscorlib.dll" or "netstandard.dll" || (name.StartsWith("System.", StringComparison.Ordinal) && !name.Contains(".Native.", StringComparison.Ordinal));
    }
}
