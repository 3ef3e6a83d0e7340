using KernelGen.Cli.Errors;

namespace KernelGen.Cli.Models;

/// <summary>Files that the user wants written, checked before any work begins.</summary>
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
}
