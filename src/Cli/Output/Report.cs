using Spectre.Console;
using Spectre.Console.Rendering;

namespace KernelGen.Cli.Output;

/// <summary>What is common to the results that people read: tables, headings, sentences.</summary>
internal static class Report
{
    /// <summary>Starts a table: boxed in a terminal, plain columns in a pipe.</summary>
    /// <param name="context">Where it will be shown.</param>
    /// <param name="columns">The headings; one that begins with '>' is a column of numbers, aligned to the right.</param>
    public static Table CreateTable(CommandContext context, params ReadOnlySpan<string> columns)
    {
        Table table = new() { Border = context.OutputIsTerminal ? TableBorder.Rounded : TableBorder.None };
        table.BorderStyle(new Style(Color.Grey));
        foreach (string column in columns)
        {
            bool number = column.StartsWith('>');
            TableColumn added = new(new Text(number ? column[1..] : column, new Style(decoration: Decoration.Bold)))
            {
                Alignment = number ? Justify.Right : Justify.Left,
                NoWrap = number,
            };
            if (!context.OutputIsTerminal)
            {
                // No lines separate plain columns: two blanks do.
                added.Padding(0, 0, 2, 0);
            }

            table.AddColumn(added);
        }

        return table;
    }

    /// <summary>Adds a row of plain text: nothing in it is markup.</summary>
    public static void AddCells(this Table table, Style? style, params ReadOnlySpan<string> cells)
    {
        IRenderable[] rendered = new IRenderable[cells.Length];
        for (int i = 0; i < cells.Length; i++)
        {
            rendered[i] = new Text(cells[i], style);
        }

        table.AddRow(rendered);
    }

    /// <summary>Dims what this machine cannot run.</summary>
    public static Style? StyleOf(bool available) => available ? null : new Style(Color.Grey);

    /// <summary>Shows a table; in a pipe without the blanks that fill its last column.</summary>
    public static void Show(this CommandContext context, Table table)
    {
        if (context.OutputIsTerminal)
        {
            context.OutputConsole.Write(table);
            return;
        }

        using StringWriter text = new() { NewLine = "\n" };
        CommandContext plain = new(text, TextWriter.Null, false, false, CancellationToken.None);
        plain.OutputConsole.Write(table);
        foreach (string line in text.ToString().TrimEnd('\n').Split('\n'))
        {
            context.Output.WriteLine(line.TrimEnd());
        }
    }

    /// <summary>Shows a heading.</summary>
    public static void Heading(this CommandContext context, string text)
    {
        context.Output.WriteLine();
        if (context.OutputIsTerminal)
        {
            context.OutputConsole.Write(new Rule($"[bold]{Markup.Escape(text)}[/]") { Justification = Justify.Left, Style = new Style(Color.Grey) });
        }
        else
        {
            context.Output.WriteLine(text);
        }
    }

    /// <summary>Shows a sentence, wrapped to the terminal's width.</summary>
    public static void Sentence(this CommandContext context, string text, Style? style = null)
    {
        if (context.OutputIsTerminal)
        {
            context.OutputConsole.Write(new Text(text + "\n", style));
        }
        else
        {
            context.Output.WriteLine(text);
        }
    }
}
