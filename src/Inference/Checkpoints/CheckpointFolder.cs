using KernelGen.Messages;

namespace KernelGen.Inference.Checkpoints;

/// <summary>A folder in Hugging Face layout, and the rule for what may be opened in it: files of its own, nothing that a link leads away to.</summary>
internal sealed class CheckpointFolder
{
    /// <summary>More links than any real path has; ends a circle of them.</summary>
    private const int MaxLinks = 40;

    private readonly string _realPath;

    /// <summary>Takes a folder that exists.</summary>
    /// <exception cref="CheckpointException">Its links cannot be followed.</exception>
    public CheckpointFolder(string path)
    {
        FullPath = Path.GetFullPath(path);
        _realPath = ResolveLinks(FullPath, FullPath);
    }

    /// <summary>The folder's absolute path, as the user named it.</summary>
    public string FullPath { get; }

    /// <summary>The path to open for a file of the folder, or null if there is none.</summary>
    /// <param name="fileName">A name without folders.</param>
    /// <exception cref="CheckpointException">The name is a path, or the file is a symbolic link that leads out of the folder.</exception>
    public string? Find(string fileName)
    {
        RequirePlainName(fileName);
        string path = Path.Combine(FullPath, fileName);
        if (!File.Exists(path))
        {
            return null;
        }

        string real = ResolveLinks(path, path);
        if (IsWithin(real, _realPath) || (HubCacheBlobs() is string blobs && IsWithin(real, blobs)))
        {
            return path;
        }

        throw CheckpointException.For(
            path, $"this is a symbolic link that leads out of the folder, to {real}.", "Put the file itself into the folder.");
    }

    /// <summary>Refuses everything but the name of a file right in the folder, whatever the operating system.</summary>
    private void RequirePlainName(string fileName)
    {
        // Both separators, and the colon of drives and streams, wherever we run: a checkpoint travels between systems.
        if (fileName.Length is 0 or > 255 || fileName is "." or ".." || fileName.AsSpan().ContainsAny("/\\:\0"))
        {
            throw CheckpointException.For(
                FullPath,
                $"it names a file '{MessageText.Shorten(fileName)}', which is not the name of a file in this folder.",
                "Correct the name; files are only read from the checkpoint's own folder.");
        }
    }

    /// <summary>
    /// In the Hugging Face cache, <c>snapshots/REVISION/</c> holds links to <c>../../blobs/</c>: the one place outside of the folder
    /// that belongs to the checkpoint.
    /// </summary>
    private string? HubCacheBlobs()
    {
        string? snapshots = Path.GetDirectoryName(_realPath);
        return Path.GetFileName(snapshots) == "snapshots" && Path.GetDirectoryName(snapshots) is string entry
            ? Path.Combine(entry, "blobs")
            : null;
    }

    private static bool IsWithin(string path, string folder) =>
        path.StartsWith(
            Path.EndsInDirectorySeparator(folder) ? folder : folder + Path.DirectorySeparatorChar,
            OperatingSystem.IsWindows() ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal);

    /// <summary>The path with the links of every component followed.</summary>
    private static string ResolveLinks(string path, string shown)
    {
        string root = Path.GetPathRoot(path)!;
        string resolved = root;
        Stack<string> rest = new();
        PushComponents(rest, path[root.Length..]);
        int links = 0;
        try
        {
            while (rest.TryPop(out string? component))
            {
                string next = component switch
                {
                    "." => resolved,
                    ".." => Path.GetDirectoryName(resolved) ?? root,
                    _ => Path.Combine(resolved, component),
                };
                string? target = component is "." or ".." ? null : new FileInfo(next).LinkTarget;
                if (target is null)
                {
                    resolved = next;
                    continue;
                }

                if (++links > MaxLinks)
                {
                    throw CheckpointException.For(shown, "its symbolic links lead in a circle.", "Put the file itself into the folder.");
                }

                if (Path.GetPathRoot(target) is { Length: > 0 } targetRoot)
                {
                    resolved = Path.GetFullPath(targetRoot);
                    target = target[targetRoot.Length..];
                }

                PushComponents(rest, target);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.For(
                shown, $"the path cannot be followed ({exception.Message}).", "Check that it exists and that you may read it.", exception);
        }

        return resolved;
    }

    private static void PushComponents(Stack<string> rest, string path)
    {
        string[] components = path.Split(
            [Path.DirectorySeparatorChar, Path.AltDirectorySeparatorChar], StringSplitOptions.RemoveEmptyEntries);
        for (int i = components.Length - 1; i >= 0; i--)
        {
            rest.Push(components[i]);
        }
    }
}
