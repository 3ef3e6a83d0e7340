using DiffPlex.Renderer;

namespace KernelGen.Tests;

/// <summary>
/// Holds a text against a <c>*.verified.*</c> file. The convention is Verify's, so that Verify can take this class's place: on a mismatch
/// the new text lies beside it as <c>*.received.*</c>.
/// </summary>
/// <param name="folder">Where the verified files are.</param>
/// <param name="tests">What <c>dotnet test</c> takes to run their tests.</param>
internal sealed class Snapshot(string folder, string tests)
{
    /// <summary>Set to 1, every snapshot is rewritten with what was received.</summary>
    public const string AcceptVariable = "KERNELGEN_ACCEPT_SNAPSHOTS";

    /// <summary>The snapshots of a project below <c>tests</c>, in its source folder.</summary>
    public static Snapshot Of(string project) => new(Path.Combine(RepositoryPaths.Root, "tests", project, "Snapshots"), $"tests/{project}");

    /// <summary>Fails with a unified diff where the text is not the verified one.</summary>
    /// <param name="name">The file's name without <c>.verified</c> and extension.</param>
    /// <param name="extension">The extension, without a dot.</param>
    /// <param name="received">The text.</param>
    /// <param name="accept">Whether to take the text as the verified one; by default what the environment says.</param>
    public void Verify(string name, string extension, string received, bool? accept = null)
    {
        string verifiedPath = Path.Combine(folder, $"{name}.verified.{extension}");
        string receivedPath = Path.Combine(folder, $"{name}.received.{extension}");
        if (accept ?? Environment.GetEnvironmentVariable(AcceptVariable) == "1")
        {
            Directory.CreateDirectory(folder);
            File.WriteAllText(verifiedPath, received);
            File.Delete(receivedPath);
            return;
        }

        string verified = File.Exists(verifiedPath) ? File.ReadAllText(verifiedPath) : string.Empty;
        if (verified == received && File.Exists(verifiedPath))
        {
            File.Delete(receivedPath);
            return;
        }

        File.WriteAllText(receivedPath, received);
        Assert.Fail($"""
            {UnidiffRenderer.GenerateUnidiff(verified, received, Path.GetFileName(verifiedPath), Path.GetFileName(receivedPath))}
            The text is not the verified one. If the change is meant, rename {receivedPath}
            to {Path.GetFileName(verifiedPath)}, or accept all: {AcceptVariable}=1 dotnet test -c Release {tests}
            """);
    }
}
