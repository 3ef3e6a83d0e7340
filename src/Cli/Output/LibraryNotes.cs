using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace KernelGen.Cli.Output;

/// <summary>Hands the library's warnings about tuning to the user as notes. What else it logs the commands say themselves.</summary>
internal sealed class LibraryNotes(CommandContext context) : ILoggerFactory
{
    private const string Category = "KernelGen.Tuning";

    public ILogger CreateLogger(string categoryName) => categoryName == Category ? new Notes(context) : NullLogger.Instance;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("Notes go to the standard error stream alone.");

    public void Dispose()
    {
        // The streams are the process's.
    }

    private sealed class Notes(CommandContext context) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel is >= LogLevel.Warning and < LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                context.Note(formatter(state, exception));
            }
        }
    }
}
