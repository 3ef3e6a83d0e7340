using KernelGen.Cli.Errors;

namespace KernelGen.Cli.Models;

/// <summary>Files that the user wants written, checked before any work begins and replaced in one step after it.</summary>
internal static class OutputFiles
{
    /// <summary>A path that a file can be written to.</summary>
    /// <exception cref="BadInputException">It is empty or a folder, or the folder that it names does not exist.</exception>
    public static string Check(string option, string path)
    {
        if (path.Length == 0 || path.Contains('\0', StringComparison.Ordinal))
        {
            throw new BadInputException($"{option}: '{path}' is no file. Name one to write.");
        }

        if (Directory.Exists(path))
        {
            throw new BadInputException($"{option}: '{path}' is a folder. Name a file to write.");
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        return Directory.Exists(folder)
            ? path
            : throw new BadInputException($"{option}: there is no folder '{folder}' to write '{Path.GetFileName(path)}' to. Make it first.");
    }

    /// <summary>Writes a file so that under its name there is the old content or all of the new.</summary>
    /// <exception cref="IOException">The disk is full or failed.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static void Replace(string path, Action<Stream> write)
    {
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            using (FileStream stream = new(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None))
            {
                write(stream);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
