using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using KernelGen.Backends.Cpu;
using KernelGen.Memory;

namespace KernelGen.Tuning;

/// <summary>
/// What the processor can do at most with all its threads: loops of one instruction on registers, and reading memory that no cache holds. The best
/// of several passes counts, since whatever disturbs makes them slower.
/// </summary>
internal static unsafe class CpuCeilings
{
    private const int Passes = 7;

    private const long ReadBytesPerThread = 96L << 20, MostReadBytes = 1L << 30;

    private const double PassMicroseconds = 4000;

    /// <summary>Measures; takes a fraction of a second.</summary>
    public static TuningCeilings Measure()
    {
        (double int8, string int8By) = Best(CpuPeakLoop.Int8());
        (double single, string singleBy) = Best(CpuPeakLoop.Float32());
        return new TuningCeilings(Math.Round(ReadBandwidth()), Math.Round(int8), Math.Round(single), int8By, singleBy);
    }

    private static (double PerSecond, string Name) Best(IEnumerable<CpuPeakLoop> loops) =>
        loops.Select(static loop => (OperationsPerSecond(loop), loop.Name)).MaxBy(static result => result.Item1);

    private static double OperationsPerSecond(CpuPeakLoop loop)
    {
        const int Probe = 10_000;
        double probe = Time(() => loop.Run(Probe));
        int rounds = (int)Math.Clamp(Probe * PassMicroseconds / probe, Probe, 1 << 26), threads = Environment.ProcessorCount;
        double best = Enumerable.Range(0, Passes).Min(_ => Time(() => CpuParallel.ForEach(threads, threads, _ => loop.Run(rounds))));
        return (double)loop.OperationsPerRound * rounds * threads / best * 1e6;
    }

    private static double ReadBandwidth()
    {
        int threads = Environment.ProcessorCount;
        nint slice = (nint)Math.Min(ReadBytesPerThread, MostReadBytes / threads) & ~(nint)4095;
        using AlignedBuffer<byte> buffer = new((long)slice * threads);
        byte* memory = buffer.Pointer;

        // Pages that were never written are all the same one.
        CpuParallel.ForEach(threads, threads, i => new Span<byte>(memory + (i * slice), (int)slice).Fill((byte)(i + 1)));
        long sink = 0;
        double best = Enumerable.Range(0, Passes).Min(_ => Time(() =>
            CpuParallel.ForEach(threads, threads, i => Interlocked.Add(ref sink, Sum(memory + (i * slice), slice)))));
        return (double)slice * threads / best * 1e6;
    }

    private static double Time(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Math.Max(Stopwatch.GetElapsedTime(start).TotalMicroseconds, 0.1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static long Sum(byte* memory, nint bytes)
    {
        Vector<long> a = default, b = default, c = default, d = default;
        nint step = Vector<byte>.Count;
        for (nint i = 0; i < bytes; i += 4 * step)
        {
            a += Vector.Load((long*)(memory + i));
            b += Vector.Load((long*)(memory + i + step));
            c += Vector.Load((long*)(memory + i + (2 * step)));
            d += Vector.Load((long*)(memory + i + (3 * step)));
        }

        return Vector.Sum(a + b + c + d);
    }
}
