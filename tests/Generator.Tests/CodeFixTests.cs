using KernelGen.CodeFixes;
using KernelGen.Generator.Tests.Infrastructure;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;

namespace KernelGen.Generator.Tests;

/// <summary>What each fix is called and what it makes of the source; what is fixed is reported no more.</summary>
public sealed class CodeFixTests
{
    public static TheoryData<string, string, string> Fixes() => new()
    {
        { "[Int8Kernel] class Kernel;", "Make 'Kernel' partial", "[Int8Kernel] partial class Kernel;" },
        { "// Mine.\n[Int8Kernel]\ninternal static class Kernel\n{\n}", "Make 'Kernel' partial", "// Mine.\n[Int8Kernel]\ninternal static partial class Kernel\n{\n}" },
        { "/* Outer. */ class Outer { [Int8Kernel] partial class Kernel; }", "Make 'Outer' partial", "/* Outer. */ partial class Outer { [Int8Kernel] partial class Kernel; }" },
        { "[Int8Kernel(CpuTileM = [4, 17, 8])] partial class Kernel;", "Use 16, the nearest tile size", "[Int8Kernel(CpuTileM = [4, 16, 8])] partial class Kernel;" },
        { "[Int8Kernel(CpuTileN = new[] { 16, 8 + 7 })] partial class Kernel;", "Use 16, the nearest tile size", "[Int8Kernel(CpuTileN = new[] { 16, 16 })] partial class Kernel;" },
        { "[Int8Kernel(CpuTileM = new int[] { -1 })] partial class Kernel;", "Use 1, the nearest tile size", "[Int8Kernel(CpuTileM = new int[] { 1 })] partial class Kernel;" },
        { "[Int8Kernel(OutlierThreshold = float.NaN)] partial class Kernel;", "Use the paper's threshold, 6", "[Int8Kernel(OutlierThreshold = 6f)] partial class Kernel;" },
        { "[Int8Kernel(OutlierThreshold = 1e9f)] partial class Kernel;", "Use the paper's threshold, 6", "[Int8Kernel(OutlierThreshold = 6f)] partial class Kernel;" },
        { "[Int8Kernel] file partial class Kernel;", "Make 'Kernel' internal", "[Int8Kernel] internal partial class Kernel;" },
        { "[Int8Kernel(CpuTileM = [])] partial class Kernel;", "Remove CpuTileM", "[Int8Kernel] partial class Kernel;" },
        { "[Int8Kernel(CpuTileM = [2], CpuTileN = [])] partial class Kernel;", "Remove CpuTileN", "[Int8Kernel(CpuTileM = [2])] partial class Kernel;" },
        { "[Int8Kernel(OutlierThreshold = 6f, Outliers = OutlierPolicy.None)] partial class Kernel;", "Remove OutlierThreshold", "[Int8Kernel(Outliers = OutlierPolicy.None)] partial class Kernel;" },
    };

    [Theory]
    [MemberData(nameof(Fixes))]
    public async Task A_fix_says_what_it_does_and_does_it(string source, string title, string expected)
    {
        using AdhocWorkspace workspace = new();
        Document document = UserProject.OpenIn(workspace, source);
        Diagnostic report = Assert.Single(await ReportsOf(document));
        List<CodeAction> actions = [];
        await new SpecCodeFixProvider().RegisterCodeFixesAsync(new CodeFixContext(document, report, (action, _) => actions.Add(action), default));
        CodeAction action = Assert.Single(actions);
        Assert.Equal(title, action.Title);
        ApplyChangesOperation change = Assert.Single((await action.GetOperationsAsync(default)).OfType<ApplyChangesOperation>());
        Document changed = change.ChangedSolution.GetDocument(document.Id)!;
        Assert.EndsWith(expected, (await changed.GetTextAsync()).ToString(), StringComparison.Ordinal);
        Assert.Empty(await ReportsOf(changed));
    }

    [Fact]
    public void Every_rule_with_one_remedy_has_a_fix_that_is_tested_here()
    {
        Assert.Equal(
            ["KG0001", "KG0002", "KG0003", "KG0007", "KG0008", "KG0010", "KG0011"],
            new SpecCodeFixProvider().FixableDiagnosticIds.Order(StringComparer.Ordinal));
        Assert.NotNull(new SpecCodeFixProvider().GetFixAllProvider());
    }

    private static async Task<Diagnostic[]> ReportsOf(Document document) =>
        [.. await AnalyzerRun.Of((await document.Project.GetCompilationAsync())!)];
}
