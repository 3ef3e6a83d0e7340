using System.Globalization;
using System.Reflection;
using KernelGen.Generator.Tests.Infrastructure;
using KernelGen.Tests;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Generator.Tests;

/// <summary>The README's code compiles as it stands, runs, and prints what the README says it prints.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public void The_sample_prints_what_the_readme_shows()
    {
        string readme = File.ReadAllText(Path.Combine(RepositoryPaths.Root, "README.md"));
        string code = Block(readme, "csharp"), shown = Block(readme[readme.IndexOf(code, StringComparison.Ordinal)..], "text");
        CSharpCompilation project = UserProject.OfWholeFile(code);
        project = project.WithOptions(project.Options.WithOutputKind(OutputKind.ConsoleApplication));
        GeneratorDriver driver = CSharpGeneratorDriver.Create(new Int8KernelGenerator()).WithUpdatedParseOptions(UserProject.ParseOptions);
        driver.RunGeneratorsAndUpdateCompilation(project, out Compilation whole, out _);

        using MemoryStream assembly = new();
        Assert.Empty(whole.Emit(assembly).Diagnostics);
        MethodInfo main = Assembly.Load(assembly.ToArray()).EntryPoint!;
        TextWriter console = Console.Out;
        using StringWriter output = new(CultureInfo.InvariantCulture) { NewLine = "\n" };
        Console.SetOut(output);
        try
        {
            main.Invoke(null, [Array.Empty<string>()]);
        }
        finally
        {
            Console.SetOut(console);
        }

        Assert.Equal(shown, output.ToString());
        Assert.InRange(code.Split('\n').Length, 15, 26);
    }

    private static string Block(string markdown, string language)
    {
        string fence = $"```{language}\n";
        int start = markdown.IndexOf(fence, StringComparison.Ordinal) + fence.Length;
        return markdown[start..markdown.IndexOf("```", start, StringComparison.Ordinal)];
    }
}
