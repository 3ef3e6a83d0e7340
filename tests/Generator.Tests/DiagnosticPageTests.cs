using System.Globalization;
using System.Text.RegularExpressions;
using KernelGen.Generator.Diagnostics;
using KernelGen.Generator.Tests.Infrastructure;
using KernelGen.Tests;
using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Tests;

/// <summary>Every rule has a page, and the page says what the rule says; its examples are run by tests/Docs.Tests, as every page's are.</summary>
public sealed partial class DiagnosticPageTests
{
    private static readonly string Folder = Path.Combine(RepositoryPaths.Root, "docs", "diagnostics");

    public static TheoryData<string> Rules() => [.. Ids];

    private static IEnumerable<string> Ids => AnalyzerRun.Rules.Select(rule => rule.Id);

    [Theory]
    [MemberData(nameof(Rules))]
    public void A_page_names_its_rule(string id)
    {
        DiagnosticDescriptor rule = RuleOf(id);
        string page = Page(id);
        string severity = rule.DefaultSeverity == DiagnosticSeverity.Info ? "information" : rule.DefaultSeverity.ToString().ToLowerInvariant();
        Assert.StartsWith($"# {id}: {rule.Title.ToString(CultureInfo.InvariantCulture)}\n\nSeverity: {severity}.\n", page, StringComparison.Ordinal);
        Assert.Equal(["Cause", "Bad", "Good", "How to fix"], Headings().Matches(page).Select(match => match.Groups[1].Value));
        Assert.EndsWith($"/docs/diagnostics/{id}.md", rule.HelpLinkUri, StringComparison.Ordinal);
        Assert.True(rule.IsEnabledByDefault);
    }

    [Fact]
    public void Every_page_has_a_rule() =>
        Assert.Equal(
            Ids.Select(id => $"{id}.md").Order(StringComparer.Ordinal),
            Directory.GetFiles(Folder, "KG*").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal));

    [Fact]
    public void The_release_notes_list_every_rule_as_it_is()
    {
        string[] lines = [.. File.ReadAllLines(Path.Combine(RepositoryPaths.Root, "src", "Generator", "AnalyzerReleases.Unshipped.md"))
            .Concat(File.ReadAllLines(Path.Combine(RepositoryPaths.Root, "src", "Generator", "AnalyzerReleases.Shipped.md")))
            .Where(line => line.StartsWith("KG", StringComparison.Ordinal))];
        Assert.Equal(
            AnalyzerRun.Rules
                .Select(rule => $"{rule.Id} | {rule.Category} | {rule.DefaultSeverity} | {rule.Title.ToString(CultureInfo.InvariantCulture)}")
                .Order(StringComparer.Ordinal),
            lines.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_analyzer_supports_every_descriptor() =>
        Assert.Equal(
            typeof(Descriptors).GetFields().Select(field => field.GetValue(null)).OfType<DiagnosticDescriptor>().Select(rule => rule.Id).Order(StringComparer.Ordinal),
            Ids.Order(StringComparer.Ordinal));

    private static DiagnosticDescriptor RuleOf(string id) => AnalyzerRun.Rules.Single(rule => rule.Id == id);

    private static string Page(string id) => File.ReadAllText(Path.Combine(Folder, $"{id}.md"));

    [GeneratedRegex("^## (.+)$", RegexOptions.Multiline)]
    private static partial Regex Headings();
}
