using System.Diagnostics;
using System.Reflection;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Samples.Tests;

/// <summary>Samples and their arguments. That they print what their pages show, tests/Docs.Tests finds; samples/CustomSpec has tests of its own.</summary>
public sealed class SampleTests
{
    private static readonly string Configuration = typeof(SampleTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(static attribute => attribute.Key == "Configuration").Value!;

    [Fact]
    public void The_perplexity_comparison_says_what_it_wants()
    {
        (int exitCode, string output) = Run("Perplexity");
        Assert.Equal((2, "Give a checkpoint's folder that has a text.txt, such as models/opt-1.5m."), (exitCode, output.Trim()));
    }

    [Fact]
    public void Every_sample_has_a_page_and_is_in_the_solution()
    {
        string solution = File.ReadAllText(Path.Combine(RepositoryPaths.Root, "KernelGen.sln"));
        string[] projects = Directory.GetFiles(Path.Combine(RepositoryPaths.Root, "samples"), "*.csproj", SearchOption.AllDirectories);
        Assert.True(projects.Length >= 5);
        Assert.All(projects, project => Assert.Contains(Path.GetFileName(project), solution, StringComparison.Ordinal));
        Assert.All(
            projects.Where(static project => !project.EndsWith("Tests.csproj", StringComparison.Ordinal)),
            static project => Assert.True(File.Exists(Path.Combine(Path.GetDirectoryName(project)!, "README.md")), $"{project} has no README.md beside it."));
    }

    private static (int ExitCode, string Output) Run(string sample, params string[] arguments)
    {
        string assembly = Path.Combine(RepositoryPaths.Root, "samples", sample, "bin", Configuration, "net10.0", $"KernelGen.Samples.{sample}.dll");
        ProcessStartInfo start = new("dotnet", [assembly, .. arguments])
        {
            WorkingDirectory = RepositoryPaths.Root,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(TimeSpan.FromMinutes(5)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"The sample {sample} did not end within five minutes.");
        }

        return (process.ExitCode, (output.Result + error.Result).ReplaceLineEndings("\n"));
    }
}
