namespace KernelGen.Backends.Cpu;

/// <summary>Splits independent work over threads. Which thread does what never shows in a result.</summary>
/// <remarks>
/// The threads are the library's own: a worker of the thread pool sleeps between calls, and waking it takes longer than a small
/// multiplication. They are shared by all callers; a caller never waits for a worker that has not begun, so that nested and concurrent
/// calls go on without help when all workers are busy.
/// </remarks>
internal static class CpuParallel
{
    /// <summary>More threads than this are never of use.</summary>
    private const int MostWorkers = 255;

    private static readonly Lock Growing = new();

    private static CpuWorker[] s_workers = [];

    /// <summary>The number of threads that a caller's choice means.</summary>
    public static int Degree(int maxDegreeOfParallelism) => maxDegreeOfParallelism switch
    {
        -1 => Environment.ProcessorCount,
        > 0 => maxDegreeOfParallelism,
        _ => throw new ArgumentOutOfRangeException(
            nameof(maxDegreeOfParallelism), maxDegreeOfParallelism, "The degree of parallelism is a positive number, or -1 for all processors."),
    };

    /// <summary>
    /// Calls <paramref name="body"/> once for each of 0 .. <paramref name="items"/> - 1 and waits. Items are handed out one at a time, so that a
    /// thread that the system holds up delays one item only. With one item or one thread everything runs on the caller's thread.
    /// </summary>
    /// <param name="items">Number of items.</param>
    /// <param name="maxDegreeOfParallelism">The most threads, the caller's included, or -1 for all processors.</param>
    /// <param name="body">The work of one item; must not depend on the order of the items.</param>
    public static void ForEach(int items, int maxDegreeOfParallelism, Action<int> body)
    {
        int threads = Math.Min(items, Degree(maxDegreeOfParallelism));
        if (threads <= 1)
        {
            for (int item = 0; item < items; item++)
            {
                body(item);
            }

            return;
        }

        CpuJob job = new(items, body);
        CpuWorker[] workers = Workers(Math.Min(threads - 1, MostWorkers));
        Span<int> helpers = stackalloc int[Math.Min(threads - 1, MostWorkers)];
        int offered = 0;
        for (int i = 0; i < workers.Length && offered < helpers.Length; i++)
        {
            if (workers[i].Offer(job))
            {
                helpers[offered++] = i;
            }
        }

        job.Work();
        int began = 0;
        foreach (int helper in helpers[..offered])
        {
            began += workers[helper].Withdraw(job) ? 0 : 1;
        }

        job.Wait(began);
    }

    /// <summary>At least that many workers.</summary>
    private static CpuWorker[] Workers(int count)
    {
        CpuWorker[] workers = Volatile.Read(ref s_workers);
        if (workers.Length >= count)
        {
            return workers;
        }

        lock (Growing)
        {
            workers = s_workers;
            if (workers.Length < count)
            {
                workers = [.. workers, .. Enumerable.Range(workers.Length, count - workers.Length).Select(i => new CpuWorker(i))];
                Volatile.Write(ref s_workers, workers);
            }

            return workers;
        }
    }

    /// <summary>Calls <paramref name="body"/> with ranges [first, end) that cover [0, count), on up to that many threads, and waits.</summary>
    /// <param name="count">The number of items.</param>
    /// <param name="grain">The fewest items worth another thread.</param>
    /// <param name="maxDegreeOfParallelism">The most threads, or -1 for all processors.</param>
    /// <param name="body">Does the items of a range.</param>
    public static void ForRanges(int count, int grain, int maxDegreeOfParallelism, Action<int, int> body)
    {
        int degree = Math.Min(Degree(maxDegreeOfParallelism), (count + grain - 1) / grain);
        if (degree <= 1)
        {
            body(0, count);
            return;
        }

        // Four ranges a thread: a thread that is late leaves the rest to the others.
        int ranges = Math.Min(degree * 4, (count + grain - 1) / grain);
        ForEach(ranges, degree, i => body((int)((long)count * i / ranges), (int)((long)count * (i + 1) / ranges)));
    }
}
