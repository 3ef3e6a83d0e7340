using KernelGen.Tests;
using Markdig;
using Markdig.Extensions.AutoIdentifiers;
using Markdig.Renderers.Html;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;

namespace KernelGen.Docs.Tests.Pages;

/// <summary>A page of documentation: its blocks of code, its links, its headings.</summary>
internal sealed class Page
{
    private const string NoteStart = "<!-- test:";

    private static readonly MarkdownPipeline Pipeline = new MarkdownPipelineBuilder().UseAutoIdentifiers(AutoIdentifierOptions.GitHub).UsePipeTables().Build();

    private readonly MarkdownDocument _document;

    private Page(string path, string text)
    {
        Path = path;
        _document = Markdown.Parse(text, Pipeline);
        Blocks = [.. ReadBlocks()];
    }

    /// <summary>Every page whose examples are executed: all but the reference, which is generated and has none.</summary>
    public static IReadOnlyList<Page> All { get; } =
    [
        .. FilesBelow("docs").Where(static path => !path.StartsWith("docs/reference/", StringComparison.Ordinal))
            .Concat(FilesBelow("samples"))
            .Concat(["README.md", "CONTRIBUTING.md"])
            .Order(StringComparer.Ordinal)
            .Select(Read),
    ];

    /// <summary>Relative to the repository, with slashes.</summary>
    public string Path { get; }

    public IReadOnlyList<PageBlock> Blocks { get; }

    /// <summary>Where links point, images among them.</summary>
    public IEnumerable<string> Links => _document.Descendants<LinkInline>().Select(static link => link.Url ?? "");

    /// <summary>The ids that GitHub gives headings.</summary>
    public IEnumerable<string> Anchors => _document.Descendants<HeadingBlock>().Select(static heading => heading.GetAttributes().Id ?? "");

    /// <summary>Code in running text.</summary>
    public IEnumerable<string> InlineCode => _document.Descendants<CodeInline>().Select(static code => code.Content.Replace('\n', ' '));

    public static Page Read(string path) => new(path, File.ReadAllText(System.IO.Path.Combine(RepositoryPaths.Root, path)));

    /// <summary>Markdown files of a folder of the repository, without what builds leave there.</summary>
    public static IEnumerable<string> FilesBelow(string folder) =>
        Directory.EnumerateFiles(System.IO.Path.Combine(RepositoryPaths.Root, folder), "*.md", SearchOption.AllDirectories)
            .Select(static file => System.IO.Path.GetRelativePath(RepositoryPaths.Root, file).Replace('\\', '/'))
            .Where(static path => !path.Split('/').Any(static part => part is "bin" or "obj"));

    private IEnumerable<PageBlock> ReadBlocks()
    {
        string heading = "", note = "";
        foreach (Block block in _document.Descendants<Block>())
        {
            string before = note;
            note = "";
            switch (block)
            {
                case HeadingBlock title:
                    heading = Text(title);
                    break;
                case HtmlBlock html when html.Lines.ToString() is string comment && comment.StartsWith(NoteStart, StringComparison.Ordinal):
                    note = comment[NoteStart.Length..].Trim()[..^"-->".Length].Trim();
                    break;
                case FencedCodeBlock fenced:
                    yield return new PageBlock(
                        Path, fenced.Line + 1, fenced.Info ?? "", fenced.Arguments ?? "", fenced.Lines.ToString() + "\n", heading, before);
                    break;
                case CodeBlock indented:
                    yield return new PageBlock(Path, indented.Line + 1, "indented", "", indented.Lines.ToString() + "\n", heading, before);
                    break;
            }
        }
    }

    private static string Text(HeadingBlock heading) =>
        string.Concat(heading.Inline?.Descendants().Select(static inline => inline switch
        {
            LiteralInline literal => literal.Content.ToString(),
            CodeInline code => code.Content,
            _ => "",
        }) ?? []);
}
