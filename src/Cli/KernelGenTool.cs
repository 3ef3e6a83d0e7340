using System.CommandLine;
using KernelGen.Cli.Commands;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Output;

namespace KernelGen.Cli;

/// <summary>The tool without its process: arguments in, text and an exit code out.</summary>
internal static class KernelGenTool
{
    public const string Name = "kernelgen";

    /// <summary>Runs one command line.</summary>
    /// <returns>One of <see cref="ExitCodes"/>.</returns>
    public static int Run(string[] args, CommandContext context)
    {
        // A prompt may begin with '@': no argument names a file of arguments.
        ParserConfiguration parsing = new() { ResponseFileTokenReplacer = null };
        ParseResult parsed = CreateRoot(context).Parse(args, parsing);
        if (parsed.Errors.Count > 0)
        {
            return ErrorReport.BadCommandLine(parsed, context);
        }

        try
        {
            // Signals and exceptions are handled here and in Program, the same way for every command.
            return parsed.Invoke(new InvocationConfiguration
            {
                Output = context.Output,
                Error = context.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
        }
        catch (Exception exception)
        {
            return ErrorReport.Failed(exception, context);
        }
    }

    /// <summary>The commands and their options.</summary>
    public static RootCommand CreateRoot(CommandContext context) => new("LLM.int8() through kernels that are generated for this machine: evaluate, run and inspect.")
    {
        DemoCommand.Create(context),
        EvalCommand.Create(context),
        GenerateCommand.Create(context),
        QuantizeCommand.Create(context),
        DevicesCommand.Create(context),
        InspectCommand.Create(context),
        KernelsCommand.Create(context),
        OutliersCommand.Create(context),
        BenchCommand.Create(context),
        BenchModelCommand.Create(context),
        AutotuneCommand.Create(context),
        TuningCommand.Create(context),
    };
}
