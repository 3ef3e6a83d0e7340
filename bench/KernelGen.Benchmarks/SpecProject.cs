extern alias runtime;

using System.Collections.Immutable;
using KernelGen.Generator;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Benchmarks;

/// <summary>A project as the generator sees it: the default specs in one file, something else in another.</summary>
internal sealed class SpecProject
{
    private static readonly CSharpParseOptions ParseOptions = new(LanguageVersion.CSharp13);

    public SpecProject()
    {
        using StreamReader reader = new(typeof(SpecProject).Assembly.GetManifestResourceStream("Schemes.cs")!);
        string specs = reader.ReadToEnd();
        string edited = specs.Replace("[Int8Kernel(Targets = KernelTargets.All)]\n", "[Int8Kernel(Targets = KernelTargets.All, OutlierThreshold = 5)]\n", StringComparison.Ordinal);
        if (edited == specs)
        {
            throw new InvalidOperationException("Schemes.cs has no [Int8Kernel(Targets = KernelTargets.All)] to edit.");
        }

        Original = CSharpCompilation.Create(
            "Specs",
            [Parse("using KernelGen;\n" + specs), Parse("class Other { int Answer() => 42; }")],
            [.. Framework(), MetadataReference.CreateFromFile(typeof(runtime::KernelGen.Int8KernelAttribute).Assembly.Location)],
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary));
        SpecEdited = Original.ReplaceSyntaxTree(Original.SyntaxTrees[0], Parse("using KernelGen;\n" + edited));
        OtherEdited = Original.ReplaceSyntaxTree(Original.SyntaxTrees[1], Parse("class Other { int Answer() => 43; }"));
    }

    public CSharpCompilation Original { get; }

    /// <summary>With another threshold in one spec.</summary>
    public CSharpCompilation SpecEdited { get; }

    /// <summary>With another number in the file that has no spec.</summary>
    public CSharpCompilation OtherEdited { get; }

    public static CSharpGeneratorDriver NewDriver() =>
        CSharpGeneratorDriver.Create([new Int8KernelGenerator().AsSourceGenerator()], parseOptions: ParseOptions);

    private static SyntaxTree Parse(string source) => CSharpSyntaxTree.ParseText(source, ParseOptions);

    private static ImmutableArray<MetadataReference> Framework() =>
    [
        .. Directory.EnumerateFiles(Path.GetDirectoryName(typeof(object).Assembly.Location)!, "System.*.dll")
            .Where(path => !path.Contains(".Native.", StringComparison.Ordinal))
            .Select(path => MetadataReference.CreateFromFile(path)),
    ];
}
