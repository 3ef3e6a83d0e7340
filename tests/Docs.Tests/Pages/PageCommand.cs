using System.Text;

namespace KernelGen.Docs.Tests.Pages;

/// <summary>A command of a page with the output that the page shows.</summary>
/// <param name="Line">Where it begins, from 1.</param>
/// <param name="Text">The command as it is written, with its further lines.</param>
/// <param name="Shown">The output; null where none is shown.</param>
internal sealed record PageCommand(int Line, string Text, string? Shown)
{
    /// <summary>The commands of a block, one a line; a backslash at its end goes on.</summary>
    public static IReadOnlyList<PageCommand> Of(PageBlock block) => block.Language switch
    {
        "sh" => [.. ReadScript(block)],
        "console" => [.. ReadSession(block)],
        _ => [],
    };

    /// <summary>The words of the first program that a command runs: up to a pipe, a redirection or the end.</summary>
    public static IReadOnlyList<string> Words(string command)
    {
        List<string> words = [];
        StringBuilder word = new();
        char quote = '\0';
        bool begun = false;
        foreach (char c in command.Replace("\\\n", " ", StringComparison.Ordinal) + " ")
        {
            if (quote != '\0')
            {
                quote = c == quote ? '\0' : quote;
                word.Append(quote == '\0' ? "" : c);
            }
            else if (c is '"' or '\'')
            {
                (quote, begun) = (c, true);
            }
            else if (c is '|' or '>' or '<' or '&' or ';' || (c == '#' && word.Length == 0))
            {
                break;
            }
            else if (!char.IsWhiteSpace(c))
            {
                word.Append(c);
                begun = true;
            }
            else if (begun)
            {
                words.Add(word.ToString());
                word.Clear();
                begun = false;
            }
        }

        return words;
    }

    private static IEnumerable<PageCommand> ReadScript(PageBlock block)
    {
        string[] lines = block.Text.TrimEnd('\n').Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            int first = i;
            StringBuilder command = new(lines[i]);
            while (lines[i].EndsWith('\\') && i + 1 < lines.Length)
            {
                command.Append('\n').Append(lines[++i]);
            }

            if (lines[first].Trim() is { Length: > 0 } start && start[0] != '#')
            {
                yield return new PageCommand(block.Line + 1 + first, command.ToString(), null);
            }
        }
    }

    private static IEnumerable<PageCommand> ReadSession(PageBlock block)
    {
        string[] lines = block.Text.TrimEnd('\n').Split('\n');
        int i = 0;
        while (i < lines.Length)
        {
            int first = i;
            Assert.True(lines[i].StartsWith("$ ", StringComparison.Ordinal), $"{block.Place}: a console block begins with '$ ' and a command.");
            StringBuilder command = new(lines[i][2..]);
            while (lines[i].EndsWith('\\') && i + 1 < lines.Length)
            {
                command.Append('\n').Append(lines[++i]);
            }

            i++;
            StringBuilder shown = new();
            for (; i < lines.Length && !lines[i].StartsWith("$ ", StringComparison.Ordinal); i++)
            {
                shown.Append(lines[i]).Append('\n');
            }

            yield return new PageCommand(block.Line + 1 + first, command.ToString(), shown.ToString());
        }
    }
}
