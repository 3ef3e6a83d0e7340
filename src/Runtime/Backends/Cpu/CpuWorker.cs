using System.Diagnostics;

namespace KernelGen.Backends.Cpu;

/// <summary>
/// A thread that helps with parallel work. After work it looks out for more for some microseconds, as the layers of a model follow each
/// other that fast, then sleeps until it is woken.
/// </summary>
internal sealed class CpuWorker
{
    /// <summary>Longer than what lies between two layers of a model, too short to be noticed as a busy processor.</summary>
    private static readonly long PatienceTicks = Stopwatch.Frequency * 50 / 1_000_000;

    private readonly SemaphoreSlim _wake = new(0);

    private CpuJob? _offered;

    private int _busy;

    private int _asleep;

    public CpuWorker(int index) => new Thread(Run) { IsBackground = true, Name = $"KernelGen worker {index}" }.UnsafeStart();

    /// <summary>Offers work. A worker takes one job at a time.</summary>
    /// <returns>False when it has something else to do.</returns>
    public bool Offer(CpuJob job)
    {
        if (Volatile.Read(ref _busy) != 0 || Interlocked.CompareExchange(ref _offered, job, null) is not null)
        {
            return false;
        }

        if (Interlocked.Exchange(ref _asleep, 0) != 0)
        {
            _wake.Release();
        }

        return true;
    }

    /// <summary>Takes an offer back.</summary>
    /// <returns>False when the worker has begun.</returns>
    public bool Withdraw(CpuJob job) => ReferenceEquals(Interlocked.CompareExchange(ref _offered, null, job), job);

    private void Run()
    {
        while (true)
        {
            CpuJob job = Take();
            Volatile.Write(ref _busy, 1);
            job.Help();
            Volatile.Write(ref _busy, 0);
        }
    }

    private CpuJob Take()
    {
        while (true)
        {
            long start = Stopwatch.GetTimestamp();
            do
            {
                if (Volatile.Read(ref _offered) is not null && Interlocked.Exchange(ref _offered, null) is { } job)
                {
                    return job;
                }

                Thread.SpinWait(4);
            }
            while (Stopwatch.GetTimestamp() - start < PatienceTicks);

            // An offer made before this is seen below; one made after it finds the worker asleep and wakes it.
            Interlocked.Exchange(ref _asleep, 1);
            if (Volatile.Read(ref _offered) is null || Interlocked.Exchange(ref _asleep, 0) == 0)
            {
                _wake.Wait();
            }
        }
    }
}
