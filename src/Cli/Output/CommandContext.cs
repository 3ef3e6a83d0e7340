using Spectre.Console;

namespace KernelGen.Cli.Output;

/// <summary>Where a command writes, and what tells it to stop.</summary>
internal sealed class CommandContext
{
    /// <summary>Nobody's window is this wide; a piped table must not wrap or lose text.</summary>
    private const int UnlimitedWidth = 10_000;

    public CommandContext(TextWriter output, TextWriter error, bool outputIsTerminal, bool errorIsTerminal, CancellationToken cancellation)
    {
        Output = output;
        Error = error;
        OutputIsTerminal = outputIsTerminal;
        ErrorIsTerminal = errorIsTerminal;
        Cancellation = cancellation;
        OutputConsole = CreateConsole(output, outputIsTerminal);
        ErrorConsole = CreateConsole(error, errorIsTerminal);
    }

    /// <summary>Results.</summary>
    public TextWriter Output { get; }

    /// <summary>Messages and progress.</summary>
    public TextWriter Error { get; }

    public bool OutputIsTerminal { get; }

    public bool ErrorIsTerminal { get; }

    public CancellationToken Cancellation { get; }

    /// <summary>Results as tables and in colours; plain text where no terminal shows it.</summary>
    public IAnsiConsole OutputConsole { get; }

    /// <summary>Messages and progress, likewise.</summary>
    public IAnsiConsole ErrorConsole { get; }

    /// <summary>Tells the user something that is not an error and not a result.</summary>
    public void Note(string message) => Error.WriteLine($"{KernelGenTool.Name}: note: {message}");

    private static IAnsiConsole CreateConsole(TextWriter writer, bool isTerminal) => AnsiConsole.Create(new AnsiConsoleSettings
    {
        Ansi = isTerminal ? AnsiSupport.Detect : AnsiSupport.No,
        ColorSystem = isTerminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
        Interactive = isTerminal ? InteractionSupport.Detect : InteractionSupport.No,
        Out = isTerminal ? new AnsiConsoleOutput(writer) : new PlainOutput(writer, UnlimitedWidth),
    });
}
