using System.Globalization;
using KernelGen.Docs.Tests.Reference;
using KernelGen.Generator.Diagnostics;
using KernelGen.Tests;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Docs.Tests;

/// <summary>The reference is what the code's comments and the rules say; with the variable set, it is written anew.</summary>
public sealed class ReferenceTests
{
    private const string AcceptVariable = "KERNELGEN_ACCEPT_SNAPSHOTS";

    private static readonly string[] Assemblies = ["KernelGen.Runtime", "KernelGen.Kernels.Specs", "KernelGen.Inference"];

    [Fact]
    public void The_reference_says_what_the_code_says()
    {
        CSharpCompilation compilation = CSharpCompilation.Create(
            "Reference",
            references: ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
                .Where(static path => !Path.GetFileName(path).StartsWith("KernelGen.Generator", StringComparison.Ordinal))
                .Select(static path => MetadataReference.CreateFromFile(path)));
        IAssemblySymbol[] assemblies =
        [
            .. compilation.References.Select(compilation.GetAssemblyOrModuleSymbol).OfType<IAssemblySymbol>().Where(static assembly => Assemblies.Contains(assembly.Name)),
        ];
        Assert.Equal(Assemblies.Length, assemblies.Length);
        Hold(Path.Combine("docs", "reference"), new ReferenceWriter(assemblies, Assemblies.Select(static name => Path.Combine(AppContext.BaseDirectory, $"{name}.xml"))).Write());
    }

    [Fact]
    public void The_list_of_diagnostics_names_every_rule()
    {
        string rows = string.Concat(new Int8KernelAnalyzer().SupportedDiagnostics.Concat(new KernelUsageAnalyzer().SupportedDiagnostics)
            .OrderBy(static rule => rule.Id, StringComparer.Ordinal)
            .Select(static rule => $"| [{rule.Id}]({rule.Id}.md) | {(rule.DefaultSeverity == DiagnosticSeverity.Info ? "information" : rule.DefaultSeverity.ToString().ToLowerInvariant())} | {rule.Title.ToString(CultureInfo.InvariantCulture)} |\n"));
        string page = $"# Diagnostics\n\nWhat the analyzer reports about annotated classes and the use of their kernels. Each page has a bad and a good example.\n\n| Rule | Severity | |\n|---|---|---|\n{rows}";
        Hold(Path.Combine("docs", "diagnostics"), new Dictionary<string, string> { ["README.md"] = page }, "README.md");
    }

    /// <summary>Compares a folder's pages with what they must be, or rewrites them.</summary>
    private static void Hold(string folder, IReadOnlyDictionary<string, string> pages, string pattern = "*.md")
    {
        string full = Path.Combine(RepositoryPaths.Root, folder);
        if (Environment.GetEnvironmentVariable(AcceptVariable) == "1")
        {
            Directory.CreateDirectory(full);
            foreach (string stale in Directory.GetFiles(full, pattern).Where(path => !pages.ContainsKey(Path.GetFileName(path))))
            {
                File.Delete(stale);
            }

            foreach ((string name, string text) in pages)
            {
                File.WriteAllText(Path.Combine(full, name), text);
            }
        }

        string[] present = Directory.Exists(full) ? [.. Directory.GetFiles(full, pattern).Select(static path => Path.GetFileName(path))] : [];
        string[] wrong =
        [
            .. present.Except(pages.Keys).Select(static name => $"{name} is of nothing public"),
            .. pages.Keys.Except(present).Select(static name => $"{name} is missing"),
            .. pages.Where(page => present.Contains(page.Key) && File.ReadAllText(Path.Combine(full, page.Key)) != page.Value).Select(static page => $"{page.Key} differs"),
        ];
        Assert.True(wrong.Length == 0, $"{folder} is not what the code says: {string.Join("; ", wrong.Order(StringComparer.Ordinal))}. Write it anew and read the difference: {AcceptVariable}=1 dotnet test -c Release tests/Docs.Tests --filter ReferenceTests");
    }
}
