using System.Diagnostics;

namespace KernelGen.Inference.Conversion;

/// <summary>Adds up what is done and reports it a few times a second, with the rate and the time left.</summary>
/// <param name="total">Bytes of all.</param>
/// <param name="done">Bytes that an earlier run did; they count as done, but not for the rate.</param>
/// <param name="target">Who is told; null for nobody.</param>
internal sealed class ProgressMeter(long total, long done, IProgress<ConversionProgress>? target)
{
    private const int ReportsPerSecond = 10;

    private readonly long _started = Stopwatch.GetTimestamp();
    private long _added;
    private long _reported;

    /// <summary>Counts bytes as done; any thread may.</summary>
    public void Add(long bytes, string stage)
    {
        Interlocked.Add(ref _added, bytes);
        Observability.ConversionInstruments.Converted(bytes);
        long now = Stopwatch.GetTimestamp(), last = Interlocked.Read(ref _reported);
        if (now - last >= Stopwatch.Frequency / ReportsPerSecond && Interlocked.CompareExchange(ref _reported, now, last) == last)
        {
            Describe(stage);
        }
    }

    /// <summary>Says what is going on now.</summary>
    public void Describe(string stage)
    {
        long added = Interlocked.Read(ref _added);
        double seconds = Stopwatch.GetElapsedTime(_started).TotalSeconds;
        double rate = seconds > 0 ? added / seconds : 0;
        target?.Report(new ConversionProgress(
            done + added, total, rate, rate > 0 ? TimeSpan.FromSeconds((total - done - added) / rate) : null, stage));
    }
}
