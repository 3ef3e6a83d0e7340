using System.CommandLine;
using KernelGen.Cli;
using KernelGen.Cli.Output;
using KernelGen.Docs.Tests.Execution;
using KernelGen.Docs.Tests.Pages;
using KernelGen.Tests;

namespace KernelGen.Docs.Tests;

/// <summary>What can be known of a command without running it.</summary>
internal static class KnownCommands
{
    /// <summary>The tool's command tree.</summary>
    public static RootCommand Tool { get; } = KernelGenTool.CreateRoot(new CommandContext(TextWriter.Null, TextWriter.Null, false, false, default));

    /// <summary>Fails where a command asks for what is not there: a verb or option of the tool, a project, a program's own words.</summary>
    public static void Check(string command)
    {
        string[] words = [.. PageCommand.Words(Settings.Substitute(command))];
        switch (words)
        {
            case ["kernelgen", .. var arguments]:
                ParseResult parsed = Tool.Parse([.. arguments]);
                Assert.True(parsed.Errors.Count == 0, $"'{command}': {string.Join(' ', parsed.Errors.Select(static error => error.Message))}");
                break;
            case ["dotnet", "run" or "test" or "build", .. var rest] when rest.FirstOrDefault(IsPath) is { } project:
                CheckProgram(command, project, [.. rest.SkipWhile(static word => word != "--").Skip(1)]);
                break;
            case ["python3", var script, .. var arguments]:
                CheckProgram(command, script, arguments);
                break;
        }
    }

    /// <summary>Fails where running text names a command or an option that the tool does not have.</summary>
    public static void CheckMention(string page, string code)
    {
        string[] words = code.Replace('[', ' ').Replace(']', ' ').Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words is not ["kernelgen", var verb, ..] || !verb.All(char.IsAsciiLetterLower))
        {
            return;
        }

        Command? command = Tool.Subcommands.FirstOrDefault(command => command.Name == verb);
        Assert.True(command is not null, $"{page}: '{code}' names no command of the tool.");
        foreach (string option in words.Where(static word => word.StartsWith("--", StringComparison.Ordinal)).Select(static word => word.TrimEnd(')', ',')))
        {
            bool known = command.Options.Concat(command.Subcommands.SelectMany(static below => below.Options)).Any(candidate => candidate.Name == option);
            Assert.True(known || option == "--help", $"{page}: '{code}': kernelgen {verb} has no {option}.");
        }
    }

    private static bool IsPath(string word) => word.Contains('/', StringComparison.Ordinal) && !word.StartsWith('-');

    /// <summary>A program of this repository: it exists, and its sources have the words that stand for verbs and options.</summary>
    private static void CheckProgram(string command, string path, IReadOnlyList<string> arguments)
    {
        string full = Path.Combine(RepositoryPaths.Root, path);
        Assert.True(Directory.Exists(full) || File.Exists(full), $"'{command}': there is no {path}.");
        string[] files = File.Exists(full) ? [full] : Directory.GetFiles(full, "*.cs", SearchOption.AllDirectories);
        string sources = string.Join('\n', files.Select(File.ReadAllText));

        // BenchmarkDotNet's own options are none of ours.
        if (sources.Contains("BenchmarkSwitcher", StringComparison.Ordinal))
        {
            return;
        }

        foreach (string word in arguments.Take(1).Where(static word => word.All(static c => char.IsAsciiLetterLower(c) || c == '-')).Concat(arguments.Where(static word => word.StartsWith("--", StringComparison.Ordinal))))
        {
            Assert.True(
                sources.Contains($"\"{word}\"", StringComparison.Ordinal) || sources.Contains($"\"{word.TrimStart('-')}\"", StringComparison.Ordinal),
                $"'{command}': the sources of {path} do not have \"{word}\".");
        }
    }
}
