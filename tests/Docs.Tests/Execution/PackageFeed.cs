using System.Diagnostics;
using KernelGen.Tests;

namespace KernelGen.Docs.Tests.Execution;

/// <summary>What <c>dotnet pack -c Release -o packages</c> makes, from what is built already.</summary>
internal static class PackageFeed
{
    /// <summary>Packs into a folder of its own; returns it.</summary>
    public static string Pack(string configuration)
    {
        string folder = Directory.CreateTempSubdirectory("kernelgen-feed-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);

        using IDisposable turn = PackingTurn.Take();
        foreach (string project in new[] { "Runtime", "Inference", "Cli" })
        {
            ProcessStartInfo start = new("dotnet", ["pack", "--no-build", "--nologo", "-v", "q", "-c", configuration, "-o", folder, Path.Combine("src", project)])
            {
                WorkingDirectory = RepositoryPaths.Root,
                RedirectStandardOutput = true,
            };
            foreach (string name in start.Environment.Keys.Where(static name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray())
            {
                start.Environment.Remove(name);
            }

            start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
            using Process process = Process.Start(start)!;
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, output);
        }

        return folder;
    }
}
