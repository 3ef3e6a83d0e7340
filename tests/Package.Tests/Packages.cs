using System.Diagnostics;
using System.Reflection;
using KernelGen.Tests;

namespace KernelGen.Package.Tests;

/// <summary>The packages, packed once into a folder that is a feed, and a cache of packages that nothing else uses.</summary>
public sealed class Packages : IDisposable
{
    private static readonly string Configuration = typeof(Packages).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "Configuration").Value!;

    private int _consumers;

    public Packages()
    {
        Folder = Directory.CreateTempSubdirectory("kernelgen-packages-").FullName;
        using IDisposable turn = PackingTurn.Take();

        // With what is built on the way, as a user packs: the analyzers, for a framework of their own. They are up to date.
        Pack("Runtime");
        Pack("Inference", "--no-build");
        Pack("Cli", "--no-build");
    }

    /// <summary>Everything that these tests write.</summary>
    public string Folder { get; }

    public string Feed => Path.Combine(Folder, "feed");

    /// <summary>The version of every package.</summary>
    public string Version => Path.GetFileNameWithoutExtension(Directory.GetFiles(Feed, "KernelGen.Tool.*.nupkg").Single())["KernelGen.Tool.".Length..];

    /// <summary>
    /// Copies a project of these tests out of the repository, where nothing but the feed connects it with us. Packages of others come from the
    /// user's cache or feeds, ours can only come from the folder: they are cached in this run's own.
    /// </summary>
    public string Consumer(string name)
    {
        string target = Path.Combine(Folder, $"{name}{_consumers++}");
        Directory.CreateDirectory(target);
        foreach (string file in Directory.GetFiles(Path.Combine(RepositoryPaths.Root, "tests", "Package.Tests", name)))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }

        File.WriteAllText(Path.Combine(target, "Directory.Build.props"), $"""
            <Project>
              <PropertyGroup>
                <KernelGenVersion>{Version}</KernelGenVersion>
                <RestoreAdditionalProjectSources>{Feed}</RestoreAdditionalProjectSources>
                <RestorePackagesPath>{Path.Combine(Folder, "cache")}</RestorePackagesPath>
                <RestoreFallbackFolders>{UserCache}</RestoreFallbackFolders>
              </PropertyGroup>
            </Project>
            """);
        return target;
    }

    private void Pack(string project, params string[] options) =>
        Run(RepositoryPaths.Root, ["pack", .. options, "--nologo", "-c", Configuration, "-o", Feed, Path.Combine("src", project)]).AssertSuccess();

    /// <summary>Runs the SDK.</summary>
    public static Outcome Run(string folder, params string[] arguments) => Outcome.Of("dotnet", folder, arguments);

    public void Dispose() => Directory.Delete(Folder, recursive: true);

    private static string UserCache => Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } folder
        ? folder
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
}

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">0 for success.</param>
/// <param name="Output">What it printed.</param>
public sealed record Outcome(int ExitCode, string Output)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    public static Outcome Of(string program, string folder, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };

        // The test host's own settings are none of the user's project; nodes that outlive the test would hold its files.
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(Limit))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"'{program} {string.Join(' ', arguments)}' did not end within {Limit}.");
        }

        return new Outcome(process.ExitCode, output.Result + error.Result);
    }

    public Outcome AssertSuccess()
    {
        Assert.True(ExitCode == 0, Output);
        return this;
    }
}
