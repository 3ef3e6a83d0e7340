using System.Reflection;
using KernelGen.Tests;

namespace KernelGen.Docs.Tests.Execution;

/// <summary>
/// The folder in which a page's commands run: to them a clone of the repository with the tool on the path, whose files can be read and
/// in which new ones stay until the page is done.
/// </summary>
internal sealed class PageFolder : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("kernelgen-docs-").FullName;

    public PageFolder()
    {
        Clone = Directory.CreateDirectory(Path.Combine(_root, "kernelgen")).FullName;
        Home = Directory.CreateDirectory(Path.Combine(_root, "home")).FullName;
        string programs = Directory.CreateDirectory(Path.Combine(_root, "bin")).FullName;
        foreach (string name in new[] { "models", "src", "bench", "README.md" })
        {
            File.CreateSymbolicLink(Path.Combine(Clone, name), Path.Combine(RepositoryPaths.Root, name));
        }

        // The reader's sources of packages are this user's.
        Directory.CreateDirectory(Path.Combine(Home, ".nuget"));
        Directory.CreateSymbolicLink(
            Path.Combine(Home, ".nuget", "NuGet"), Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "NuGet"));
        AddProgram(programs, "kernelgen", $"exec dotnet '{Path.Combine(AppContext.BaseDirectory, "kernelgen.dll")}' \"$@\"");
        foreach (string sample in new[] { "MatMul", "Perplexity" })
        {
            string assembly = Path.Combine(RepositoryPaths.Root, "samples", sample, "bin", Configuration, "net10.0", $"KernelGen.Samples.{sample}.dll");
            AddProgram(programs, $"sample-{sample}", $"[ \"$1\" = -- ] && shift\nexec dotnet '{assembly}' \"$@\"");
        }

        AddProgram(programs, "figures", $"exec dotnet '{Path.Combine(AppContext.BaseDirectory, "figures.dll")}' \"$@\"");
        // The packages are packed once, when a page first asks for them.
        AddProgram(programs, "pack", $"mkdir -p \"$1\" && cp '{Path.Combine(_root, "feed")}'/* \"$1\"");
        Variables = new Dictionary<string, string>
        {
            ["PATH"] = programs + Path.PathSeparator + Environment.GetEnvironmentVariable("PATH"),
            ["HOME"] = Home,
            ["XDG_CACHE_HOME"] = "",
            ["KERNELGEN_CACHE"] = "",
            ["NUGET_PACKAGES"] = Path.Combine(_root, "packages"),
            ["NUGET_FALLBACK_PACKAGES"] = UserPackages,
            ["MSBUILDDISABLENODEREUSE"] = "1",
            ["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1",
            ["DOTNET_NOLOGO"] = "1",
            ["DOTNET_SKIP_FIRST_TIME_EXPERIENCE"] = "1",
            ["DOTNET_GENERATE_ASPNET_CERTIFICATE"] = "false",
        };
    }

    /// <summary>Where a reader is who has cloned the repository and entered it.</summary>
    public string Clone { get; }

    /// <summary>The reader's home, shown as <c>~</c>.</summary>
    public string Home { get; }

    public IReadOnlyDictionary<string, string> Variables { get; }

    private static string Configuration => typeof(PageFolder).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(static attribute => attribute.Key == "Configuration").Value!;

    private static string UserPackages => Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } folder
        ? folder
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    /// <summary>The packages, packed once for all pages.</summary>
    private static Lazy<string> Feed { get; } = new(static () => PackageFeed.Pack(Configuration));

    /// <summary>Makes the packages ready for a command that packs.</summary>
    public void PreparePackages()
    {
        if (!Directory.Exists(Path.Combine(_root, "feed")))
        {
            Directory.CreateSymbolicLink(Path.Combine(_root, "feed"), Feed.Value);
        }
    }

    /// <summary>What a command printed, with the folder and the home as a reader would see them.</summary>
    public string AsReaderSees(string output) => output.Replace(Home, "~", StringComparison.Ordinal).Replace(_root, "", StringComparison.Ordinal);

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static void AddProgram(string folder, string name, string script)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllText(path, $"#!/usr/bin/env bash\n{script}\n");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }
}
