using KernelGen.Tests;

namespace KernelGen.Docs.Tests.Execution;

/// <summary>The two lists beside these tests: what stands for a page's placeholders, and what is not executed and why.</summary>
internal static class Settings
{
    public const string SubstitutionsFile = "substitutions.txt", NotExecutedFile = "not-executed.txt";

    /// <summary>Texts of commands and what is run in their place, in the order of application.</summary>
    public static IReadOnlyList<(string Text, string Replacement)> Substitutions { get; } = Read(SubstitutionsFile);

    /// <summary>Parts of commands that are not executed, with the reason.</summary>
    public static IReadOnlyList<(string Part, string Reason)> NotExecuted { get; } = Read(NotExecutedFile);

    /// <summary>The command that is run for one of a page.</summary>
    public static string Substitute(string command) =>
        Substitutions.Aggregate(command, static (text, entry) => text.Replace(entry.Text, entry.Replacement, StringComparison.Ordinal));

    /// <summary>Why a command of a page is not executed, or null.</summary>
    public static string? ReasonNotToExecute(string command) =>
        NotExecuted.FirstOrDefault(entry => command.Contains(entry.Part, StringComparison.Ordinal)).Reason;

    private static IReadOnlyList<(string, string)> Read(string file) =>
    [
        .. File.ReadLines(Path.Combine(RepositoryPaths.Root, "tests", "Docs.Tests", file))
            .Where(static line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split(" => ") is [string left, string right]
                ? (left, right)
                : throw new FormatException($"{file}: '{line}' is not 'TEXT => TEXT'.")),
    ];
}
