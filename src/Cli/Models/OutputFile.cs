using KernelGen.Cli.Errors;
using KernelGen.Cli.Html;
using KernelGen.Inference.Conversion;
using KernelGen.Storage;

namespace KernelGen.Cli.Models;

/// <summary>
/// A file that the user wants written: refused before any work begins where it cannot be, and written when the work is done. Nothing that
/// exists is overwritten, but for a page that the same command wrote.
/// </summary>
internal sealed class OutputFile
{
    private static readonly StringComparison _pathComparison =
        OperatingSystem.IsWindows() || OperatingSystem.IsMacOS() ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;

    private readonly string _option;
    private readonly string _fullPath;
    private readonly bool _replaces;

    private OutputFile(string option, string path, bool replaces)
    {
        _option = option;
        Path = path;
        _fullPath = System.IO.Path.GetFullPath(path);
        _replaces = replaces;
    }

    /// <summary>The file, as the user wrote it.</summary>
    public string Path { get; }

    /// <summary>A new file that can be written, which is tried.</summary>
    /// <param name="option">What names it.</param>
    /// <param name="path">The file.</param>
    /// <param name="model">The folder of --model, in which nothing is written; null where there is none.</param>
    /// <param name="text">The file of --text, which is not written; null where there is none.</param>
    /// <exception cref="BadInputException">It is empty, a folder, an input or there already, its folder does not exist or may not be written.</exception>
    public static OutputFile Check(string option, string path, string? model = null, string? text = null) =>
        Check(option, path, model, text, static _ => false, "exists");

    /// <summary>A new page, or one of the same kind to replace: with --missing, the same command goes on after Ctrl-C.</summary>
    /// <param name="option">What names it.</param>
    /// <param name="path">The file.</param>
    /// <param name="view">Its kind, such as <see cref="HtmlReport.Outliers"/>.</param>
    /// <param name="model">The folder of --model, in which nothing is written; null where there is none.</param>
    /// <param name="text">The file of --text, which is not written; null where there is none.</param>
    /// <exception cref="BadInputException">As of other files, or what is there is no such page.</exception>
    public static OutputFile CheckPage(string option, string path, string view, string? model, string? text = null) =>
        Check(option, path, model, text, existing => HtmlReport.IsPage(existing, view), "exists and is no page that this command wrote");

    /// <summary>Keeps two outputs of a command apart.</summary>
    /// <exception cref="BadInputException">They are the same file.</exception>
    public OutputFile OtherThan(OutputFile? other) => other is null || !Resolve(_fullPath).Equals(Resolve(other._fullPath), _pathComparison)
        ? this
        : throw new BadInputException($"{_option}: '{Path}' is the file of {other._option} too. Name another one.");

    /// <summary>Writes the file, in one step.</summary>
    /// <exception cref="OutputFailedException">The operating system refused, or the file has come into being meanwhile.</exception>
    public void Write(ReadOnlySpan<byte> content)
    {
        try
        {
            if (_replaces)
            {
                DurableFiles.Replace(_fullPath, content);
            }
            else
            {
                DurableFiles.Create(_fullPath, content);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            string remedy = OutputErrors.IsFull(exception) ? "Free space on its disk, or name a file on another one" : "Name a new file where you may write";
            throw new OutputFailedException($"{_option}: '{Path}' cannot be written ({exception.Message}). {remedy}, and run the command again.", exception);
        }
    }

    private static OutputFile Check(string option, string path, string? model, string? text, Func<string, bool> isOwn, string refusal)
    {
        if (path.Length == 0 || path.Contains('\0', StringComparison.Ordinal))
        {
            throw new BadInputException($"{option}: '{path}' is no file. Name one to write.");
        }

        if (Directory.Exists(path))
        {
            throw new BadInputException($"{option}: '{path}' is a folder. Name a file to write.");
        }

        string full = System.IO.Path.GetFullPath(path), folder = System.IO.Path.GetDirectoryName(full)!;
        if (!Directory.Exists(folder))
        {
            throw new BadInputException($"{option}: there is no folder '{folder}' to write '{System.IO.Path.GetFileName(path)}' to. Make it first.");
        }

        RequireNoInput(option, path, model, text);
        bool exists = File.Exists(path);
        if (exists && !isOwn(path))
        {
            throw new BadInputException($"{option}: '{path}' {refusal}. Name a new file.");
        }

        try
        {
            // Under its own name where that is free: the name may be what cannot be.
            DurableFiles.Probe(exists ? DurableFiles.TemporaryIn(folder) : full);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException(
                $"{option}: '{path}' cannot be written: no file can be made in '{folder}' under such a name ({exception.Message}). Name a new file where you may write.", exception);
        }

        return new OutputFile(option, path, exists);
    }

    private static void RequireNoInput(string option, string path, string? model, string? text)
    {
        string file = Resolve(path);
        if (!string.IsNullOrEmpty(text) && file.Equals(Resolve(text), _pathComparison))
        {
            throw new BadInputException($"{option}: '{path}' is the file of --text, which is only read. Name a new file.");
        }

        if (!string.IsNullOrEmpty(model) && file.StartsWith(System.IO.Path.TrimEndingDirectorySeparator(Resolve(model)) + System.IO.Path.DirectorySeparatorChar, _pathComparison))
        {
            throw new BadInputException($"{option}: '{path}' is inside the folder of --model, '{model}', which is only read. Name a file elsewhere.");
        }
    }

    /// <summary>A path without symbolic links, also in its folders; the file need not be there.</summary>
    private static string Resolve(string path)
    {
        string full = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(path));
        if (System.IO.Path.GetDirectoryName(full) is not { } parent)
        {
            return full;
        }

        string entry = System.IO.Path.Combine(Resolve(parent), System.IO.Path.GetFileName(full));
        try
        {
            return new FileInfo(entry).ResolveLinkTarget(returnFinalTarget: true) is { } target ? Resolve(target.FullName) : entry;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Links in a circle, or a folder that may not be searched: whoever opens the file says so.
            return entry;
        }
    }
}
