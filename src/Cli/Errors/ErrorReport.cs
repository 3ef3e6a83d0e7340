using System.CommandLine;
using System.CommandLine.Parsing;
using KernelGen.Cli.Output;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Tokenization;

namespace KernelGen.Cli.Errors;

/// <summary>Turns whatever went wrong into one message and an exit code.</summary>
internal static class ErrorReport
{
    /// <summary>POSIX's EPIPE, which .NET hands on as the exception's HResult.</summary>
    private const int BrokenPipe = 32;

    /// <summary>Reports arguments that do not fit the command.</summary>
    public static int BadCommandLine(ParseResult parsed, CommandContext context)
    {
        // What is unknown says enough: that something else is missing is only because it was not recognized.
        string[] messages = [.. parsed.Errors.Select(static error => error.Message)];
        string[] unknown = [.. messages.Where(message => parsed.UnmatchedTokens.Any(token => message.Contains($"'{token}'", StringComparison.Ordinal)))];
        foreach (string message in unknown.Length > 0 ? unknown : messages)
        {
            WriteLine(context, message);
        }

        context.Error.WriteLine($"'{CommandPath(parsed.CommandResult)} --help' shows what it takes.");
        return ExitCodes.BadInput;
    }

    /// <summary>Reports an exception that a command ended with.</summary>
    public static int Failed(Exception exception, CommandContext context)
    {
        switch (exception)
        {
            case BadInputException or CheckpointException or TokenizerException or FixedOutlierSetException:
                WriteLine(context, exception.Message);
                return ExitCodes.BadInput;

            case OutputFailedException:
                WriteLine(context, exception.Message);
                return ExitCodes.Failed;

            case OperationCanceledException when context.Cancellation.IsCancellationRequested:
                WriteLine(context, "stopped.");
                return ExitCodes.Interrupted;

            case IOException { HResult: BrokenPipe }:
                // The reader, such as 'head', has seen enough: nothing to report, and nobody to report it to.
                return ExitCodes.OutputClosed;

            case IOException or UnauthorizedAccessException:
                WriteLine(context, $"reading or writing failed: {exception.Message}");
                return ExitCodes.Failed;

            case CudaException or DeviceMemoryException:
                WriteLine(context, exception.Message);
                return ExitCodes.Failed;

            case OutOfMemoryException:
                WriteLine(context, "not enough memory for what was asked. Use a smaller model, batch, context or shape.");
                return ExitCodes.Failed;

            default:
                WriteLine(context, "this is a defect of the tool, please report it with the command line and what follows.");
                context.Error.WriteLine(exception);
                return ExitCodes.Failed;
        }
    }

    /// <summary>The tool, the command, and its own commands down to the one that was meant.</summary>
    private static string CommandPath(CommandResult result) =>
        result.Parent is CommandResult parent ? $"{CommandPath(parent)} {result.Command.Name}" : KernelGenTool.Name;

    private static void WriteLine(CommandContext context, string message) => context.Error.WriteLine($"{KernelGenTool.Name}: {message}");
}
