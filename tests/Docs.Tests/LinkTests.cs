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

    [Fact]
    public void Links_lead_to_files_and_headings()
    {
        string[] broken =
        [
            .. from page in Pages
               from link in page.Links
               where !link.Contains("://", StringComparison.Ordinal) && !Leads(page.Path, link)
               select $"{page.Path}: {link}",
        ];
        Assert.Empty(broken);
    }

    [Fact]
    public void The_index_leads_to_every_page()
    {
        HashSet<string> linked = [.. Page.Read(Index).Links.Select(static link => Path.GetFullPath(Path.Combine(RepositoryPaths.Root, "docs", link.Split('#')[0])))];
        string[] missing = [.. Page.All.Select(static page => page.Path).Where(path =>
        {
            string full = Path.GetFullPath(Path.Combine(RepositoryPaths.Root, path)), folder = Path.GetDirectoryName(full)!;
            return path.StartsWith("docs/", StringComparison.Ordinal) && path != Index
                && !linked.Contains(full) && !linked.Contains(folder) && !linked.Contains(Path.Combine(folder, "README.md"));
        })];
        Assert.Empty(missing);
    }

    [Fact]
    public void Running_text_names_commands_that_exist()
    {
        foreach (Page page in Page.All)
        {
            foreach (string code in page.InlineCode)
            {
                KnownCommands.CheckMention(page.Path, code);
            }
        }
    }

    [Fact]
    public void The_page_of_the_tool_names_every_command_and_option()
    {
        string text = File.ReadAllText(Path.Combine(RepositoryPaths.Root, "docs", "cli.md"));
        string[] missing =
        [
            .. from command in KnownCommands.Tool.Subcommands
               let section = text.Split($"\n## {command.Name}\n") is [_, var after] ? after.Split("\n## ")[0] : ""
               from word in command.Subcommands.Select(below => $"kernelgen {command.Name} {below.Name}")
                   .Concat(command.Options.Concat(command.Subcommands.SelectMany(static below => below.Options)).Select(static option => option.Name))
               where !section.Contains(word, StringComparison.Ordinal)
               select $"{command.Name}: {word}",
        ];
        Assert.Empty(missing);
    }

    private static bool Leads(string path, string link)
    {
        string[] parts = link.Split('#');
        string target = parts[0].Length == 0 ? path : Path.Combine(Path.GetDirectoryName(path)!, parts[0]);
        string full = Path.GetFullPath(Path.Combine(RepositoryPaths.Root, target));
        return parts.Length == 2 && full.EndsWith(".md", StringComparison.Ordinal)
            ? File.Exists(full) && Page.Read(Path.GetRelativePath(RepositoryPaths.Root, full).Replace('\\', '/')).Anchors.Contains(parts[1])
            : File.Exists(full) || Directory.Exists(full);
    }
}
