using System.CommandLine;
using KernelGen.Docs.Tests.Pages;
using KernelGen.Tests;

namespace KernelGen.Docs.Tests;

/// <summary>Pages lead somewhere, and every page is led to.</summary>
public sealed class LinkTests
{
    private const string Index = "docs/README.md";

    private static readonly Page[] Pages =
    [
        .. Page.All, .. Page.FilesBelow("docs/reference").Select(Page.Read), .. Page.FilesBelow("models").Select(Page.Read),
    ];

    public static TheoryData<string> Paths() => [.. Pages.Where(static page => page.Links.Any()).Select(static page => page.Path)];

    [Theory]
    [MemberData(nameof(Paths))]
    public void Links_lead_to_files_and_headings(string path)
    {
        Page page = Pages.Single(page => page.Path == path);
        Assert.All(page.Links.Where(static link => !link.Contains("://", StringComparison.Ordinal)), link =>
        {
            string[] parts = link.Split('#');
            string target = parts[0].Length == 0 ? path : Path.Combine(Path.GetDirectoryName(path)!, parts[0]);
            string full = Path.GetFullPath(Path.Combine(RepositoryPaths.Root, target));
            Assert.True(File.Exists(full) || Directory.Exists(full), $"{path}: '{link}' leads nowhere.");
            if (parts.Length == 2 && full.EndsWith(".md", StringComparison.Ordinal))
            {
                string relative = Path.GetRelativePath(RepositoryPaths.Root, full).Replace('\\', '/');
                Assert.True(Page.Read(relative).Anchors.Contains(parts[1]), $"{path}: '{link}': {relative} has no such heading.");
            }
        });
    }

    [Fact]
    public void The_index_leads_to_every_page()
    {
        HashSet<string> linked = [.. Page.Read(Index).Links.Select(static link => Path.GetFullPath(Path.Combine(RepositoryPaths.Root, "docs", link.Split('#')[0])))];
        Assert.All(
            Page.All.Where(static page => page.Path.StartsWith("docs/", StringComparison.Ordinal) && page.Path != Index),
            page =>
            {
                string full = Path.GetFullPath(Path.Combine(RepositoryPaths.Root, page.Path));
                Assert.True(linked.Contains(full) || linked.Contains(Path.GetDirectoryName(full)!), $"{Index} leads neither to {page.Path} nor to its folder.");
            });
    }

    [Fact]
    public void Running_text_names_commands_that_exist() =>
        Assert.All(Page.All, static page => Assert.All(page.InlineCode, code => KnownCommands.CheckMention(page.Path, code)));

    [Fact]
    public void The_page_of_the_tool_names_every_command_and_option()
    {
        string text = File.ReadAllText(Path.Combine(RepositoryPaths.Root, "docs", "cli.md"));
        foreach (Command command in KnownCommands.Tool.Subcommands)
        {
            Assert.Contains($"\n## {command.Name}\n", text, StringComparison.Ordinal);
            string section = text.Split($"\n## {command.Name}\n")[1].Split("\n## ")[0];
            Assert.All(command.Subcommands, below => Assert.Contains($"`kernelgen {command.Name} {below.Name}", section, StringComparison.Ordinal));
            Assert.All(
                command.Options.Concat(command.Subcommands.SelectMany(static below => below.Options)),
                option => Assert.Contains(option.Name, section, StringComparison.Ordinal));
        }
    }
}
