using KernelGen.Inference.Checkpoints;
using KernelGen.Storage;

namespace KernelGen.Inference.Conversion;

/// <summary>
/// The folder that a conversion writes. All work is done in <c>NAME.partial</c> beside it, under a lock; <c>NAME</c> comes into being in one
/// step, by renaming, when everything is on disk. Whatever else is found under these names is left alone.
/// </summary>
/// <remarks>
/// <c>NAME.partial</c> holds <c>lock</c>, <c>journal.json</c> and <c>files/</c>, which becomes <c>NAME</c>. They are made in that order and
/// removed in the reverse, so every moment at which a run can be killed leaves a state that the next run knows.
/// </remarks>
internal sealed class OutputFolder : IDisposable
{
    private const string PartialExtension = ".partial";

    private const string LockName = "lock";

    private const string FilesName = "files";

    private readonly string _final;
    private readonly FileStream _lock;

    private OutputFolder(string final, FileStream @lock)
    {
        _final = final;
        _lock = @lock;
    }

    /// <summary>Where the run's own files are.</summary>
    public string Partial => _final + PartialExtension;

    /// <summary>Where the result is written.</summary>
    public string Files => Path.Combine(Partial, FilesName);

    /// <summary>
    /// Whether an earlier run had done everything but removing its own files: the result is there.
    /// </summary>
    public bool IsDone { get; private init; }

    /// <summary>Takes the output folder for this run alone.</summary>
    /// <param name="output">The result's folder: absent or empty.</param>
    /// <param name="source">The source's folder, in which nothing is written.</param>
    /// <exception cref="CheckpointException">It holds something, cannot be written, is within the source, or another run is at work on it.</exception>
    public static OutputFolder Take(string output, string source)
    {
        string final = Path.TrimEndingDirectorySeparator(Path.GetFullPath(output));
        string whole = Path.TrimEndingDirectorySeparator(Path.GetFullPath(source));
        if (final == whole || final.StartsWith(whole + Path.DirectorySeparatorChar, StringComparison.Ordinal))
        {
            throw CheckpointException.For(output, $"the output folder is in the source's, {source}.", "Name a folder elsewhere: the source is left as it is.");
        }

        if (Path.GetDirectoryName(final) is null)
        {
            throw CheckpointException.For(output, "this is the root of a disk.", "Name a folder on it.");
        }

        RequireFree(final, output);
        string partial = final + PartialExtension;
        RequireOwn(partial);
        return OutputErrors.Named(partial, () => TakePartial(final, partial, output));
    }

    /// <summary>Deletes what an interrupted run left half written.</summary>
    /// <param name="finished">The names of finished files.</param>
    public void RemoveUnfinished(IEnumerable<string> finished)
    {
        HashSet<string> kept = [.. finished];
        OutputErrors.Named(Files, () =>
        {
            Directory.CreateDirectory(Files);
            foreach (string file in Directory.EnumerateFiles(Files))
            {
                if (!kept.Contains(Path.GetFileName(file)))
                {
                    File.Delete(file);
                }
            }
        });
    }

    /// <summary>Refuses to begin what cannot be finished for lack of space.</summary>
    /// <param name="bytes">What is still to be written.</param>
    public void RequireSpace(long bytes)
    {
        long free = OutputErrors.Named(Partial, () => new DriveInfo(Partial).AvailableFreeSpace);
        if (free < bytes)
        {
            throw CheckpointException.For(
                Partial,
                $"the disk has {free:N0} bytes free, {bytes:N0} more are needed.",
                "Free space on this disk and run the same command again, or name an output folder on another one.");
        }
    }

    /// <summary>Gives the result its name. The caller has brought every file of it to disk.</summary>
    public void Publish() => OutputErrors.Named(_final, () =>
    {
        DurableFiles.FlushFolder(Files);
        if (Directory.Exists(_final))
        {
            // Fails if something has come into it meanwhile.
            Directory.Delete(_final);
        }

        Directory.Move(Files, _final);
        DurableFiles.FlushFolder(Path.GetDirectoryName(_final)!);
        RemovePartial();
    });

    /// <summary>Removes the run's own files, after the result has its name. What cannot be removed is left: the result is whole.</summary>
    public void RemovePartial()
    {
        try
        {
            File.Delete(Path.Combine(Partial, ConversionJournal.FileName));

            // Windows deletes no open file.
            _lock.Dispose();
            File.Delete(Path.Combine(Partial, LockName));
            Directory.Delete(Partial);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
        }
    }

    /// <summary>Lets the next run have the folder.</summary>
    public void Dispose() => _lock.Dispose();

    private static OutputFolder TakePartial(string final, string partial, string output)
    {
        Directory.CreateDirectory(partial);
        FileStream @lock = Lock(partial);
        try
        {
            // Another run may have come to its end between the first look and the lock.
            bool isDone = Directory.Exists(final) && Directory.EnumerateFileSystemEntries(final).Any();
            if (isDone)
            {
                RequireFree(final, output);
            }

            DurableFiles.FlushFolder(Path.GetDirectoryName(final)!);
            return new OutputFolder(final, @lock) { IsDone = isDone };
        }
        catch
        {
            @lock.Dispose();
            throw;
        }
    }

    private static FileStream Lock(string partial)
    {
        string path = Path.Combine(partial, LockName);
        try
        {
            // The operating system frees it when the process ends, however it ends.
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
        }
        catch (IOException exception) when (!OutputErrors.IsFull(exception) && File.Exists(path))
        {
            throw CheckpointException.For(
                partial, "another run is at work on this output.", "Wait for it to end, or name another output folder.", exception);
        }
    }

    private static void RequireFree(string final, string shown)
    {
        if (new FileInfo(final) is { LinkTarget: not null } or { Exists: true })
        {
            throw CheckpointException.For(shown, "this is a file or a symbolic link.", "Name a folder that does not exist yet.");
        }

        if (!Directory.Exists(final) || !OutputErrors.Named(shown, () => Directory.EnumerateFileSystemEntries(final).Any()))
        {
            return;
        }

        // All that can be left of a run that gave the folder its name is its journal and lock.
        string partial = final + PartialExtension;
        if (!ConversionJournal.SaysComplete(partial) || Directory.Exists(Path.Combine(partial, FilesName)))
        {
            throw CheckpointException.For(shown, "the output folder is not empty.", "Name a new or empty folder: nothing is overwritten.");
        }
    }

    private static void RequireOwn(string partial)
    {
        bool isLink = new FileInfo(partial) is { LinkTarget: not null } or { Exists: true };
        string[] known = [LockName, FilesName, ConversionJournal.FileName, ConversionJournal.FileName + DurableFiles.TemporaryExtension];
        string[] entries = !isLink && Directory.Exists(partial)
            ? OutputErrors.Named(partial, () => Directory.GetFileSystemEntries(partial).Select(static entry => Path.GetFileName(entry)!).ToArray())
            : [];
        bool hasFilesAlone = entries.Contains(FilesName) && !entries.Contains(ConversionJournal.FileName);
        if (isLink || hasFilesAlone || entries.Except(known).Any())
        {
            throw CheckpointException.For(
                partial, "the conversion would work here, but this is something else.", "Move it away, or name another output folder.");
        }
    }
}
