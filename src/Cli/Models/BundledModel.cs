using KernelGen.Cli.Errors;

namespace KernelGen.Cli.Models;

/// <summary>Finds the checkpoint that comes with the repository.</summary>
/// <remarks>
/// It is not copied beside the tool: it would be there twice in every build. The tool looks in the folders above itself, where a clone
/// has it, and then above the current folder.
/// </remarks>
internal static class BundledModel
{
    private static readonly string _path = Path.Combine("models", "opt-1.5m");

    /// <exception cref="BadInputException">It is nowhere above these folders.</exception>
    public static string Find() => Find(AppContext.BaseDirectory, Environment.CurrentDirectory);

    /// <summary>Finds it above one of several folders.</summary>
    internal static string Find(params ReadOnlySpan<string> folders)
    {
        foreach (string start in folders)
        {
            for (DirectoryInfo? folder = new(start); folder is not null; folder = folder.Parent)
            {
                string candidate = Path.Combine(folder.FullName, _path);
                if (File.Exists(Path.Combine(candidate, "config.json")))
                {
                    return candidate;
                }
            }
        }

        throw new BadInputException(
            $"the demonstration model '{_path}' is not in or above {string.Join(" or ", folders.ToArray())}. Run the demo in a clone of the repository, or name a model with --model.");
    }
}
