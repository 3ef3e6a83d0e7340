using System.Text.Json;
using System.Xml.Linq;
using KernelGen.Docs.Tests.Execution;
using KernelGen.Docs.Tests.Pages;
using Microsoft.CodeAnalysis;

namespace KernelGen.Docs.Tests;

/// <summary>
/// Every page does what it shows: its commands run in order in a folder that is a clone to them, its C# compiles and runs, and output is
/// compared where it stands. CONTRIBUTING.md says how blocks are written.
/// </summary>
public sealed class PageTests
{
    private static readonly string[] Languages = ["csharp", "sh", "console", "text", "json", "xml", "ini"];

    public static TheoryData<string> WithBlocks() => [.. Page.All.Where(static page => page.Blocks.Count > 0).Select(static page => page.Path)];

    public static TheoryData<string, string> NotExecuted()
    {
        TheoryData<string, string> entries = [];
        foreach ((string place, string reason) in Page.All.SelectMany(static page => page.Blocks).SelectMany(static block => CommandsNotExecuted(block).Concat(CodeNotExecuted(block))))
        {
            entries.Add(place, reason);
        }

        return entries;
    }

    [SkippableTheory]
    [MemberData(nameof(WithBlocks))]
    public async Task A_page_does_what_it_shows(string path)
    {
        Skip.If(OperatingSystem.IsWindows(), "The pages' commands are for a POSIX shell.");
        Page page = Page.Read(path);
        using PageFolder folder = new();
        using ShellSession shell = new(folder.Clone, folder.Variables);
        string? output = null;
        foreach (PageBlock block in page.Blocks)
        {
            switch (block.Language)
            {
                case "csharp":
                    output = block.NoteAfter("file") is { } file ? Write(shell, file, block.Text) : await RunCode(block, folder.Clone);
                    break;
                case "sh" or "console":
                    output = Run(block, folder, shell);
                    break;
                case "text" when block.Mark != "sample":
                    Assert.True(output is not null, $"{block.Place} shows output, but nothing ran before it. Mark a drawing or what was measured elsewhere: ```text sample");
                    AssertSame(block.Place, ShownOutput.Difference(block.Text, output));
                    output = null;
                    break;
                case "json":
                    using (JsonDocument.Parse(block.Text))
                    {
                    }

                    break;
                case "xml":
                    XElement.Parse(block.Text);
                    break;
            }

            if (block.Language is not "csharp" && block.NoteAfter("file") is { } name)
            {
                Write(shell, name, block.Text);
            }
        }
    }

    /// <summary>Listed with its reason, and still read: a command's verb and options exist, C# is C#.</summary>
    [SkippableTheory]
    [MemberData(nameof(NotExecuted))]
    public void What_is_not_executed_is_listed_and_read(string place, string reason)
    {
        PageBlock block = Page.All.SelectMany(static page => page.Blocks).Last(block => block.Page == place.Split(':')[0] && block.Line <= LineOf(place));
        if (block.Language == "csharp")
        {
            if (block.Mark == "compiled")
            {
                CSharpExample.Compile(block);
            }
            else
            {
                CSharpExample.Parse(block);
            }
        }
        else
        {
            KnownCommands.Check(PageCommand.Of(block).Single(command => command.Line == LineOf(place)).Text);
        }

        Skip.If(true, reason);
    }

    [Fact]
    public void A_block_says_what_it_is() => Assert.All(
        Page.All.SelectMany(static page => page.Blocks),
        static block =>
        {
            Assert.True(Languages.Contains(block.Language), $"{block.Place}: '{block.Language}' is none of {string.Join(", ", Languages)}. Code stands in fences that say what it is.");
            string[] marks = block.Language switch
            {
                "csharp" => ["", "compiled", "parsed"],
                "text" => ["", "sample"],
                "console" => ["", "machine"],
                _ => [""],
            };
            Assert.True(marks.Contains(block.Mark), $"{block.Place}: '{block.Mark}' is none of {string.Join(", ", marks.Skip(1))}.");
            Assert.True(block.Mark is not ("compiled" or "parsed") || block.Note.Length > 0, $"{block.Place}: <!-- test: ... --> before it says why it does not run.");
        });

    [Fact]
    public void Both_lists_are_needed_whole()
    {
        string[] commands = [.. Page.All.SelectMany(static page => page.Blocks).SelectMany(PageCommand.Of).Select(static command => command.Text)];
        Assert.All(Settings.NotExecuted, entry => Assert.True(commands.Any(command => command.Contains(entry.Part, StringComparison.Ordinal)), $"{Settings.NotExecutedFile}: no page has '{entry.Part}'."));
        Assert.All(Settings.Substitutions, entry => Assert.True(commands.Any(command => command.Contains(entry.Text, StringComparison.Ordinal)), $"{Settings.SubstitutionsFile}: no page has '{entry.Text}'."));
    }

    private static IEnumerable<(string Place, string Reason)> CommandsNotExecuted(PageBlock block) =>
        from command in PageCommand.Of(block)
        let reason = Settings.ReasonNotToExecute(command.Text)
        where reason is not null
        select ($"{block.Page}:{command.Line}", reason);

    private static IEnumerable<(string Place, string Reason)> CodeNotExecuted(PageBlock block) =>
        block is { Language: "csharp", Mark: "compiled" or "parsed" } ? [(block.Place, $"{block.Mark} only: {block.NoteAfter("setup")?.Split('\n')[0].TrimStart('/', ' ') ?? block.Note}")] : [];

    private static int LineOf(string place) => int.Parse(place.Split(':')[1], System.Globalization.CultureInfo.InvariantCulture);

    private static async Task<string?> RunCode(PageBlock block, string folder)
    {
        if (block.Mark is "compiled" or "parsed")
        {
            return null;
        }

        CSharpExample example = CSharpExample.Compile(block);
        bool isBad = block.Page.StartsWith("docs/diagnostics/KG", StringComparison.Ordinal) && block.Heading == "Bad";
        Diagnostic[] reports = await example.ReportsAsync();
        string[] expected = isBad ? [Path.GetFileNameWithoutExtension(block.Page)] : [];
        Assert.True(expected.SequenceEqual(reports.Select(static report => report.Id)), $"{block.Place}: instead of {string.Join(", ", expected.DefaultIfEmpty("nothing"))} the analyzer reports: {string.Join('\n', reports.AsEnumerable())}");
        if (isBad)
        {
            // The generator writes nothing for a class that is wrong.
            Assert.Equal(reports[0].DefaultSeverity != DiagnosticSeverity.Error, example.IsGenerated);
        }

        return example.IsProgram ? example.Run(folder) : null;
    }

    /// <summary>Runs a block's commands; returns what the last one printed, or null where none ran.</summary>
    private static string? Run(PageBlock block, PageFolder folder, ShellSession shell)
    {
        string? output = null;
        foreach (PageCommand command in PageCommand.Of(block))
        {
            if (Settings.ReasonNotToExecute(command.Text) is not null)
            {
                continue;
            }

            KnownCommands.Check(command.Text);
            if (command.Text.StartsWith("dotnet pack", StringComparison.Ordinal))
            {
                folder.PreparePackages();
            }

            string place = $"{block.Page}:{command.Line}";
            (int exitCode, string printed) = shell.Run(Settings.Substitute(command.Text));
            output = folder.AsReaderSees(printed);
            Assert.True(exitCode == 0, $"{place}: '{Settings.Substitute(command.Text)}' ended with exit code {exitCode}:\n{output}");
            if (command.Shown is { } shown)
            {
                AssertSame(place, block.Mark == "machine" ? ShownOutput.DifferenceOfMachine(shown, output) : ShownOutput.Difference(shown, output));
            }
        }

        return output;
    }

    private static string? Write(ShellSession shell, string file, string text)
    {
        string marker = "END_OF_" + Guid.NewGuid().ToString("N");
        (int exitCode, string output) = shell.Run($"cat > '{file}' << '{marker}'\n{text}{marker}");
        Assert.True(exitCode == 0, output);
        return null;
    }

    private static void AssertSame(string place, string? difference) => Assert.True(difference is null, $"{place}: {difference}");
}
