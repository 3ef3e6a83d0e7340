using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Conversion;

/// <summary>Turns what the operating system says while writing into an error that names the file and what to do.</summary>
internal static class OutputErrors
{
    private const int NoSpace = 28, QuotaExceeded = 122, ReadOnlyFileSystem = 30;

    private const int WindowsDiskFull = unchecked((int)0x80070070), WindowsHandleDiskFull = unchecked((int)0x80070027);

    /// <summary>Whether writing failed for lack of space.</summary>
    public static bool IsFull(Exception exception) =>
        exception is IOException { HResult: NoSpace or QuotaExceeded or WindowsDiskFull or WindowsHandleDiskFull };

    /// <summary>The error for a failed write.</summary>
    public static CheckpointException CannotWrite(string path, Exception exception) => CheckpointException.For(
        path,
        $"it cannot be written ({exception.Message}).",
        exception switch
        {
            _ when IsFull(exception) => "Free space on this disk and run the same command again: it continues where it stopped.",
            UnauthorizedAccessException or IOException { HResult: ReadOnlyFileSystem } => "Name an output folder where you may write.",
            _ => "Check the disk and run the same command again: it continues where it stopped.",
        },
        exception);

    /// <summary>Does something that writes.</summary>
    /// <exception cref="CheckpointException">The operating system refused.</exception>
    public static T Named<T>(string path, Func<T> write)
    {
        try
        {
            return write();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CannotWrite(path, exception);
        }
    }

    /// <inheritdoc cref="Named{T}"/>
    public static void Named(string path, Action write) => Named(path, () =>
    {
        write();
        return true;
    });
}
