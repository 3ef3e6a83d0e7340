using System.Text;
using Spectre.Console;

namespace KernelGen.Cli.Output;

/// <summary>Text for a file or a pipe: of any width, never a terminal.</summary>
internal sealed class PlainOutput(TextWriter writer, int width) : IAnsiConsoleOutput
{
    public TextWriter Writer => writer;

    public bool IsTerminal => false;

    public int Width => width;

    public int Height => 1;

    public void SetEncoding(Encoding encoding)
    {
        // The writer has its encoding.
    }
}
