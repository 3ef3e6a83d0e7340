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
    /// <param name="path">The file.</param>
    /// <param name="content">All of it.</param>
    /// <param name="temporary">Where it is written first, in the same folder; a name of the caller's own where several may write the same file at once.</param>
    /// <exception cref="IOException">The disk is full or failed.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static void Replace(string path, ReadOnlySpan<byte> content, string? temporary = null)
    {
        temporary ??= path + TemporaryExtension;
        using (FileStream stream = new(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0))
        {
            stream.Write(content);
            stream.Flush(flushToDisk: true);
        }

        File.Move(temporary, path, overwrite: true);
        FlushFolder(Path.GetDirectoryName(path)!);
    }

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

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
