using System.Runtime.ExceptionServices;

namespace KernelGen.Backends.Cpu;

/// <summary>Splits independent work over threads. Which thread does what never shows in a result.</summary>
internal static class CpuParallel
{
    /// <summary>The number of threads that a caller's choice means.</summary>
    public static int Degree(int maxDegreeOfParallelism) => maxDegreeOfParallelism switch
    {
        -1 => Environment.ProcessorCount,
        > 0 => maxDegreeOfParallelism,
        _ => throw new ArgumentOutOfRangeException(
            nameof(maxDegreeOfParallelism), maxDegreeOfParallelism, "The degree of parallelism is a positive number, or -1 for all processors."),
    };

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
        try
        {
            Parallel.For(0, ranges, new ParallelOptions { MaxDegreeOfParallelism = degree }, i =>
            {
                body((int)((long)count * i / ranges), (int)((long)count * (i + 1) / ranges));
            });
        }
        catch (AggregateException e)
        {
            // The caller sees the same exception type as on one thread.
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
    }
}
