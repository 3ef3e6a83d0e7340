using System.Collections.Immutable;
using System.Globalization;
using System.Reflection;
using KernelGen.Docs.Tests.Pages;
using KernelGen.Generator;
using KernelGen.Generator.Diagnostics;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;

namespace KernelGen.Docs.Tests.Execution;

/// <summary>
/// A block of C#, compiled as in a console project that has the package: implicit usings, nullable, warnings are errors, the generator and
/// its analyzers. A comment <c>&lt;!-- test: setup ... --&gt;</c> before it holds what the page leaves unsaid.
/// </summary>
internal sealed class CSharpExample
{
    private const string ImplicitUsings = """
        global using System;
        global using System.Collections.Generic;
        global using System.IO;
        global using System.Linq;
        global using System.Net.Http;
        global using System.Threading;
        global using System.Threading.Tasks;
        """;

    private static readonly CSharpParseOptions ParseOptions = new(LanguageVersion.CSharp13, DocumentationMode.Diagnose);

    /// <summary>All that these tests run with: the framework, the products and their packages, but not what ships as an analyzer.</summary>
    private static readonly ImmutableArray<MetadataReference> References =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(static path => !Path.GetFileName(path).StartsWith("KernelGen.Generator", StringComparison.Ordinal))
            .Select(static path => MetadataReference.CreateFromFile(path)),
    ];

    private readonly PageBlock _block;
    private readonly Compilation _compilation;

    private CSharpExample(PageBlock block, Compilation compilation, bool isGenerated)
    {
        _block = block;
        _compilation = compilation;
        IsGenerated = isGenerated;
    }

    /// <summary>Whether the generator wrote anything.</summary>
    public bool IsGenerated { get; }

    /// <summary>Whether there are statements to run.</summary>
    public bool IsProgram => _compilation.Options.OutputKind == OutputKind.ConsoleApplication;

    /// <summary>Fails where the text is not C#.</summary>
    public static void Parse(PageBlock block) =>
        AssertNone(block, "is not C#", CSharpSyntaxTree.ParseText(block.Text, ParseOptions).GetDiagnostics());

    /// <summary>Compiles it, with the generated kernels.</summary>
    public static CSharpExample Compile(PageBlock block)
    {
        Parse(block);
        CompilationUnitSyntax shown = SyntaxFactory.ParseCompilationUnit(block.Text, options: ParseOptions);
        CompilationUnitSyntax setup = SyntaxFactory.ParseCompilationUnit(block.NoteAfter("setup") ?? "", options: ParseOptions);
        CompilationUnitSyntax whole = SyntaxFactory.CompilationUnit(
            default,
            setup.Usings.AddRange(shown.Usings),
            default,
            [.. setup.Members.Concat(shown.Members).OrderBy(static member => member is GlobalStatementSyntax ? 0 : 1)]);
        bool isProgram = whole.Members.Any(static member => member is GlobalStatementSyntax);
        CSharpCompilation project = CSharpCompilation.Create(
            "Example" + Guid.NewGuid().ToString("N"),
            [
                CSharpSyntaxTree.ParseText(ImplicitUsings, ParseOptions, "ImplicitUsings.cs"),
                CSharpSyntaxTree.ParseText(whole.ToFullString(), ParseOptions, "Example.cs"),
            ],
            References,
            new CSharpCompilationOptions(
                isProgram ? OutputKind.ConsoleApplication : OutputKind.DynamicallyLinkedLibrary,
                optimizationLevel: OptimizationLevel.Release,
                warningLevel: 9999,
                generalDiagnosticOption: ReportDiagnostic.Error,
                nullableContextOptions: NullableContextOptions.Enable,
                specificDiagnosticOptions: Unneeded));
        CSharpGeneratorDriver.Create(new Int8KernelGenerator())
            .WithUpdatedParseOptions(ParseOptions)
            .RunGeneratorsAndUpdateCompilation(project, out Compilation compilation, out _);
        AssertNone(block, "does not compile", compilation.GetDiagnostics());
        return new CSharpExample(block, compilation, compilation.SyntaxTrees.Count() > project.SyntaxTrees.Length);
    }

    /// <summary>What the analyzers report, one of each rule.</summary>
    public async Task<Diagnostic[]> ReportsAsync()
    {
        CompilationWithAnalyzers analysis = _compilation.WithAnalyzers([new Int8KernelAnalyzer(), new KernelUsageAnalyzer()]);
        return [.. (await analysis.GetAnalyzerDiagnosticsAsync()).DistinctBy(static report => report.Id).OrderBy(static report => report.Id, StringComparer.Ordinal)];
    }

    /// <summary>Runs it in a folder; returns what it printed.</summary>
    public string Run(string folder)
    {
        using MemoryStream assembly = new();
        AssertNone(_block, "cannot be emitted", _compilation.Emit(assembly).Diagnostics);
        MethodInfo main = Assembly.Load(assembly.ToArray()).EntryPoint!;
        TextWriter console = Console.Out;
        string before = Environment.CurrentDirectory;
        using StringWriter output = new(CultureInfo.InvariantCulture) { NewLine = "\n" };
        Console.SetOut(output);
        Environment.CurrentDirectory = folder;
        try
        {
            main.Invoke(null, main.GetParameters().Length == 0 ? [] : [Array.Empty<string>()]);
        }
        catch (TargetInvocationException exception)
        {
            Assert.Fail($"{_block.Place} threw {exception.InnerException}");
        }
        finally
        {
            Console.SetOut(console);
            Environment.CurrentDirectory = before;
        }

        return output.ToString();
    }

    /// <summary>Usings that a page shows though the SDK has them, and a setup's that one of its blocks needs, are no mistake.</summary>
    private static Dictionary<string, ReportDiagnostic> Unneeded => new()
    {
        ["CS8019"] = ReportDiagnostic.Suppress,
        ["CS8933"] = ReportDiagnostic.Suppress,
        ["CS0105"] = ReportDiagnostic.Suppress,
    };

    private static void AssertNone(PageBlock block, string what, IEnumerable<Diagnostic> diagnostics)
    {
        Diagnostic[] messages = [.. diagnostics.Where(static diagnostic => diagnostic.Severity > DiagnosticSeverity.Hidden && !diagnostic.IsSuppressed)];
        Assert.True(messages.Length == 0, $"{block.Place} {what}:\n{string.Join('\n', messages.Take(10).Select(static message => message.ToString()))}\n{block.Text}");
    }
}
