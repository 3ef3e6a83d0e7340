extern alias runtime;

using System.Collections.Immutable;
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

    /// <summary>Comments are parsed and checked, which is more than a project without a documentation file asks for.</summary>
    public static CSharpParseOptions ParseOptions { get; } = new(LanguageVersion.CSharp13, DocumentationMode.Diagnose);

    /// <summary>A library of the sources, one file each, named <c>File0.cs</c>, <c>File1.cs</c> ...</summary>
    public static CSharpCompilation Create(params string[] sources) => Create(ParseOptions, sources);

    public static CSharpCompilation Create(CSharpParseOptions parseOptions, params string[] sources) =>
        Create(sources.Select((source, index) => Parse(source, $"File{index}.cs", parseOptions)));

    /// <summary>A library of one file that brings its own using directives.</summary>
    public static CSharpCompilation OfWholeFile(string source) => Create([CSharpSyntaxTree.ParseText(source, ParseOptions, "File0.cs")]);

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

    private static bool IsFrameworkAssembly(string path)
    {
        string name = Path.GetFileName(path);
        return name is "mscorlib.dll" or "netstandard.dll" || (name.StartsWith("System.", StringComparison.Ordinal) && !name.Contains(".Native.", StringComparison.Ordinal));
    }
}
