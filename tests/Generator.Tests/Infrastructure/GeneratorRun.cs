using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Generator.Tests.Infrastructure;

/// <summary>What the generator made of a project.</summary>
/// <param name="Output">The project with the generated files.</param>
/// <param name="Files">The generated files by hint name.</param>
internal sealed record GeneratorRun(Compilation Output, ImmutableSortedDictionary<string, string> Files)
{
    /// <summary>Runs the generator, which must neither fail nor report anything itself: that is the analyzer's part.</summary>
    public static GeneratorRun Of(params string[] sources) => Of(UserProject.Create(sources));

    public static GeneratorRun Of(CSharpCompilation project)
    {
        GeneratorDriver driver = CreateDriver(project).RunGeneratorsAndUpdateCompilation(project, out Compilation output, out ImmutableArray<Diagnostic> diagnostics);
        Assert.Empty(diagnostics);
        GeneratorRunResult result = Assert.Single(driver.GetRunResult().Results);
        Assert.Null(result.Exception);
        return new GeneratorRun(
            output,
            result.GeneratedSources.ToImmutableSortedDictionary(file => file.HintName, file => file.SourceText.ToString(), StringComparer.Ordinal));
    }

    public static GeneratorDriver CreateDriver(CSharpCompilation project) => CSharpGeneratorDriver.Create(
        [new Int8KernelGenerator().AsSourceGenerator()],
        parseOptions: (CSharpParseOptions?)project.SyntaxTrees.FirstOrDefault()?.Options,
        driverOptions: new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));

    /// <summary>Asserts that the project and what was generated for it compile without any message, hidden ones aside.</summary>
    public GeneratorRun AssertCompiles()
    {
        Diagnostic[] messages = [.. Output.GetDiagnostics().Where(diagnostic => diagnostic.Severity > DiagnosticSeverity.Hidden)];
        Assert.True(messages.Length == 0, string.Join('\n', messages.Take(10).Select(message => message.ToString())));
        return this;
    }
}
