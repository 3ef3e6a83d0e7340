namespace KernelGen.Backends.Cpu;

/// <summary>Runs numbered work items on several threads.</summary>
internal static class ParallelWork
{
    /// <summary>
    /// Calls <paramref name="body"/> once for each of 0 .. <paramref name="items"/> - 1. The items are handed out one at a time, so that a
    /// thread that the system holds up delays one item only. With one item or one thread everything runs on the caller's thread.
    /// </summary>
    /// <param name="items">Number of items.</param>
    /// <param name="maxDegreeOfParallelism">Most threads to use, the caller's included; 0 for one per processor.</param>
    /// <param name="body">The work of one item; must not depend on the order of the items.</param>
    /// <exception cref="AggregateException">The body threw on a thread.</exception>
    public static void For(int items, int maxDegreeOfParallelism, Action<int> body)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxDegreeOfParallelism);
        int threads = Math.Min(items, maxDegreeOfParallelism == 0 ? Environment.ProcessorCount : maxDegreeOfParallelism);
        if (threads <= 1)
        {
            for (int item = 0; item < items; item++)
            {
                body(item);
            }

            return;
        }

        int next = -1;
        Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, _ =>
        {
            for (int item = Interlocked.Increment(ref next); item < items; item = Interlocked.Increment(ref next))
            {
                body(item);
            }
        });
    }
}
