using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KernelGen.Tests;

/// <summary>A measurement that was heard.</summary>
internal sealed record Measurement(string Name, double Value, KeyValuePair<string, object?>[] Tags);

/// <summary>Hears all measurements of the library's meter, of the whole process.</summary>
internal sealed class Measurements : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly ConcurrentQueue<Measurement> _heard = [];

    public Measurements()
    {
        _listener.InstrumentPublished = static (instrument, listener) =>
        {
            if (instrument.Meter.Name == KernelGenDiagnostics.MeterName)
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => _heard.Enqueue(new Measurement(instrument.Name, value, tags.ToArray())));
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => _heard.Enqueue(new Measurement(instrument.Name, value, tags.ToArray())));
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => _heard.Enqueue(new Measurement(instrument.Name, value, tags.ToArray())));
        _listener.Start();
    }

    public IEnumerable<Measurement> Of(string name) => _heard.Where(measurement => measurement.Name == name);

    /// <summary>The only measurement of an instrument, of that value if one is given.</summary>
    public Measurement Single(string name, double? value = null)
    {
        Measurement measurement = Assert.Single(Of(name));
        Assert.Equal(value ?? measurement.Value, measurement.Value);
        return measurement;
    }

    public void Dispose() => _listener.Dispose();
}

/// <summary>Hears the library's activities, of the whole process.</summary>
internal sealed class Activities : IDisposable
{
    private readonly ActivityListener _listener;
    private readonly ConcurrentQueue<Activity> _ended = [];

    public Activities()
    {
        _listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name == KernelGenDiagnostics.ActivitySourceName,
            Sample = static (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = _ended.Enqueue,
        };
        ActivitySource.AddActivityListener(_listener);
    }

    public IEnumerable<Activity> Ended => _ended;

    public void Dispose() => _listener.Dispose();
}

/// <summary>An entry of the log.</summary>
internal sealed record LogEntry(string Category, int Id, LogLevel Level, string Message, Exception? Exception);

/// <summary>Takes the library's log entries, of the whole process, until it is disposed.</summary>
internal sealed class LogEntries : ILoggerFactory
{
    private readonly ILoggerFactory _before = KernelGenDiagnostics.LoggerFactory;
    private readonly ConcurrentQueue<LogEntry> _entries = [];

    public LogEntries() => KernelGenDiagnostics.LoggerFactory = this;

    public IEnumerable<LogEntry> Entries => _entries;

    public ILogger CreateLogger(string categoryName) => new Logger(categoryName, _entries);

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public void Dispose() => KernelGenDiagnostics.LoggerFactory = _before;

    private sealed class Logger(string category, ConcurrentQueue<LogEntry> entries) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            entries.Enqueue(new LogEntry(category, eventId.Id, logLevel, formatter(state, exception), exception));
    }
}
