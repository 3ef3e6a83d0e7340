using KernelGen.Cli.Errors;
using KernelGen.Storage;
using KernelGen.Tuning;

namespace KernelGen.Cli.Models;

/// <summary>Where this user's tuning records are, and what to do where they cannot be written.</summary>
internal static class UserRecords
{
    private static string Remedy => $"Set {CacheFolder.Variable} to a folder that may be written.";

    /// <summary>The database.</summary>
    /// <exception cref="BadInputException">The system has no place for it.</exception>
    public static TuningDatabase Database() =>
        KernelTuning.Database ?? throw new BadInputException($"{CacheFolder.Variable}: this system has no folder for caches. {Remedy}");

    /// <summary>Tries whether records can be stored, before any are made.</summary>
    /// <exception cref="BadInputException">They cannot.</exception>
    public static void RequireWritable(TuningDatabase database)
    {
        try
        {
            Directory.CreateDirectory(database.Folder);
            DurableFiles.Probe(DurableFiles.TemporaryIn(database.Folder));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"the folder of the tuning records, '{database.Folder}', cannot be written ({exception.Message}). {Remedy}", exception);
        }
    }

    /// <summary>Stores records.</summary>
    /// <exception cref="OutputFailedException">The operating system refused.</exception>
    public static void Store(TuningDatabase database, Action store)
    {
        try
        {
            store();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new OutputFailedException(
                $"the tuning record cannot be stored in '{database.Folder}' ({exception.Message}). Free space on its disk, or set {CacheFolder.Variable} to a folder elsewhere, and run the command again.",
                exception);
        }
    }
}
