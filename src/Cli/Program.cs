using System.Runtime.InteropServices;
using System.Text;
using KernelGen.Cli.Output;

namespace KernelGen.Cli;

internal static class Program
{
    private static int Main(string[] args)
    {
        using CancellationTokenSource cancellation = new();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using StreamWriter output = new(StandardStreams.OpenOutput(), StandardStreams.Utf8) { AutoFlush = true, NewLine = "\n" };
        using StreamWriter error = new(Console.OpenStandardError(), StandardStreams.Utf8) { AutoFlush = true, NewLine = "\n" };
        if (OperatingSystem.IsWindows())
        {
            Console.OutputEncoding = Encoding.UTF8;
        }

        CommandContext context = new(output, error, !Console.IsOutputRedirected, !Console.IsErrorRedirected, cancellation.Token);
        KernelGenDiagnostics.LoggerFactory = new LibraryNotes(context);
        return KernelGenTool.Run(args, context);

        // The first Ctrl-C lets the command end by itself; a second one ends the process.
        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = !cancellation.IsCancellationRequested;
            cancellation.Cancel();
        }
    }
}
