using System.Runtime.ExceptionServices;

namespace KernelGen.Backends.Cpu;

/// <summary>Items of work that threads take one at a time, so that a thread that the system holds up delays one item only.</summary>
internal sealed class CpuJob(int items, Action<int> body)
{
    private int _next = -1;

    private int _finished;

    private ExceptionDispatchInfo? _failure;

    /// <summary>Works on items until there are none left.</summary>
    public void Work()
    {
        try
        {
            for (int item = Interlocked.Increment(ref _next); item < items; item = Interlocked.Increment(ref _next))
            {
                body(item);
            }
        }
        catch (Exception e)
        {
            // The caller sees it; the items that nobody began are left out.
            Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
            Volatile.Write(ref _next, items);
        }
    }

    /// <summary>A helper's part, which <see cref="Wait"/> waits for.</summary>
    public void Help()
    {
        Work();
        Interlocked.Increment(ref _finished);
    }

    /// <summary>Waits until that many helpers are done, and throws what any thread's work threw. No helper has more than an item left.</summary>
    public void Wait(int helpers)
    {
        SpinWait spinner = default;
        while (Volatile.Read(ref _finished) < helpers)
        {
            spinner.SpinOnce(sleep1Threshold: -1);
        }

        _failure?.Throw();
    }
}
