using System.Collections.Immutable;
using System.Globalization;
using KernelGen.Generator.Diagnostics;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;

namespace KernelGen.Generator.Tests.Infrastructure;

/// <summary>What the analyzer reports about a project.</summary>
internal static class AnalyzerRun
{
    /// <summary>Every rule of every analyzer.</summary>
    public static IEnumerable<DiagnosticDescriptor> Rules => Analyzers.SelectMany(analyzer => analyzer.SupportedDiagnostics);

    private static ImmutableArray<DiagnosticAnalyzer> Analyzers { get; } = [new Int8KernelAnalyzer(), new KernelUsageAnalyzer()];

    /// <summary>The reports, by place.</summary>
    public static async Task<ImmutableArray<Diagnostic>> Of(Compilation project)
    {
        // A crash of the analyzer would otherwise be one more diagnostic, AD0001, that a test might not look at.
        CompilationWithAnalyzers analysis = project.WithAnalyzers(
            Analyzers,
            new CompilationWithAnalyzersOptions(
                new AnalyzerOptions([]),
                onAnalyzerException: (exception, _, _) => throw exception,
                concurrentAnalysis: true,
                logAnalyzerExecutionTime: false));
        ImmutableArray<Diagnostic> reports = await analysis.GetAnalyzerDiagnosticsAsync();
        Assert.DoesNotContain(reports, report => report.Id.StartsWith("AD", StringComparison.Ordinal));
        return [.. reports
            .OrderBy(report => report.Location.SourceTree?.FilePath, StringComparer.Ordinal)
            .ThenBy(report => report.Location.SourceSpan.Start)
            .ThenBy(report => report.Id, StringComparer.Ordinal)];
    }

    /// <summary>A report as <c>KG0002 at `[0]`: the message</c>, where the place is the source text that is marked.</summary>
    public static string Describe(Diagnostic report)
    {
        string marked = report.Location.SourceTree!.GetText().ToString(report.Location.SourceSpan);
        return $"{report.Id} at `{marked}`: {report.GetMessage(CultureInfo.InvariantCulture)}";
    }
}
