using System.ComponentModel;
using System.Runtime.InteropServices;

namespace KernelGen.Storage;

/// <summary>Writes that survive a loss of power: a file, and the folder's entry for it, are on disk before the next step relies on them.</summary>
internal static partial class DurableFiles
{
    private const int ReadOnly = 0;

    /// <summary>A file that takes its name only when it is whole and on disk is written under this ending.</summary>
    public const string TemporaryExtension = ".tmp";

    /// <summary>Writes a file in one step: under its name there is the old content or all of the new one.</summary>
    /// <param name="path">The full path of the file.</param>
    /// <param name="content">All of it.</param>
    /// <param name="temporary">
    /// Where it is written first, in the same folder, over what is there: for a folder of the caller's own, in which what a killed process left
    /// must have a known name. A name that nothing else has unless given.
    /// </param>
    /// <exception cref="IOException">The disk is full or failed.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static void Replace(string path, ReadOnlySpan<byte> content, string? temporary = null) => Write(path, content, temporary, overwrite: true);

    /// <summary>Writes a new file in one step: under its name there is nothing or all of the content.</summary>
    /// <param name="path">The full path of the file.</param>
    /// <param name="content">All of it.</param>
    /// <exception cref="IOException">There is a file of this name, or the disk is full or failed.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static void Create(string path, ReadOnlySpan<byte> content) => Write(path, content, null, overwrite: false);

    /// <summary>A name for a temporary file that nothing else in the folder has, and that is not longer than names may be, however long the file's own is.</summary>
    public static string TemporaryIn(string folder) => Path.Combine(folder, $".kernelgen-{Guid.NewGuid():N}{TemporaryExtension}");

    /// <summary>Makes an empty file and removes it: whether it can be written is known before the work whose result it will hold.</summary>
    /// <param name="path">A file that is not there.</param>
    /// <exception cref="IOException">It is there, or the disk is full or failed.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static void Probe(string path) =>
        new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose).Dispose();

    /// <summary>Brings a folder's entries to disk: created, renamed and deleted files. Windows does it by itself.</summary>
    /// <exception cref="IOException">The folder is gone, or the disk failed.</exception>
    public static void FlushFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        int descriptor = Open(folder, ReadOnly);
        try
        {
            // EINVAL: a file system that cannot flush folders has nothing to flush.
            const int InvalidArgument = 22;
            if (descriptor < 0 || (FSync(descriptor) != 0 && Marshal.GetLastPInvokeError() != InvalidArgument))
            {
                int error = Marshal.GetLastPInvokeError();
                throw new IOException($"The folder cannot be flushed to disk: {new Win32Exception(error).Message}: '{folder}'", error);
            }
        }
        finally
        {
            if (descriptor >= 0)
            {
                _ = Close(descriptor);
            }
        }
    }

    private static void Write(string path, ReadOnlySpan<byte> content, string? known, bool overwrite)
    {
        string folder = Path.GetDirectoryName(path)!, temporary = known ?? TemporaryIn(folder);
        using (FileStream stream = new(temporary, known is null ? FileMode.CreateNew : FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0))
        {
            try
            {
                stream.Write(content);
                stream.Flush(flushToDisk: true);
            }
            catch
            {
                stream.Dispose();
                File.Delete(temporary);
                throw;
            }
        }

        try
        {
            File.Move(temporary, path, overwrite);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }

        FlushFolder(folder);
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
