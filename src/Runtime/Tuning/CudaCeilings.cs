using KernelGen.Backends.Cuda;

namespace KernelGen.Tuning;

/// <summary>What a GPU can do at most: its multiply units alone, and copying memory. The best of several passes counts.</summary>
internal static class CudaCeilings
{
    private const int Passes = 7, Threads = 256;

    private const uint ProbeRounds = 1000, MostRounds = 1 << 24;

    private const double PassMicroseconds = 5000;

    private const long MostCopiedBytes = 1L << 30;

    /// <summary>Measures; takes a fraction of a second.</summary>
    /// <exception cref="CudaException">Out of device memory, or no kernel runs.</exception>
    public static TuningCeilings Measure(CudaContext context, CudaStream stream)
    {
        (double int8, string int8By) = Peak(context, stream, CudaPeakKernel.Int8);
        (double half, string halfBy) = Peak(context, stream, CudaPeakKernel.Float);
        return new TuningCeilings(Math.Round(CopyBandwidth(context, stream)), Math.Round(int8), Math.Round(half), int8By, halfBy);
    }

    private static (double PerSecond, string Instruction) Peak(CudaContext context, CudaStream stream, IReadOnlyList<CudaPeakKernel> kernels) =>
        kernels.Where(kernel => kernel.Variant.Reject(context.Device) is null)
            .Select(kernel => (OperationsPerSecond(context, stream, kernel), kernel.Instruction))
            .MaxBy(static result => result.Item1);

    private static unsafe double OperationsPerSecond(CudaContext context, CudaStream stream, CudaPeakKernel peak)
    {
        uint blocks = (uint)(peak.BlocksPerMultiprocessor * context.Device.Multiprocessors);
        using CudaBuffer output = new(context, blocks * Threads * sizeof(uint));
        using CudaKernel kernel = new(context, peak.Variant);
        double probe = Best(context, stream, 2, () => Launch(ProbeRounds));
        uint rounds = (uint)Math.Clamp(ProbeRounds * PassMicroseconds / probe, ProbeRounds, MostRounds);
        return peak.OperationsPerRound * rounds * blocks / Best(context, stream, Passes, () => Launch(rounds)) * 1e6;

        void Launch(uint count)
        {
            ulong address = output.Address;
            uint keep = peak.Keep, set = peak.Set;
            void** parameters = stackalloc void*[] { &address, &count, &keep, &set };
            kernel.Launch(stream, blocks, Threads, 0, parameters);
        }
    }

    private static double CopyBandwidth(CudaContext context, CudaStream stream)
    {
        long bytes = Math.Min(MostCopiedBytes, context.Memory().Free / 4) & ~4095L;
        using CudaBuffer from = new(context, bytes), to = new(context, bytes);
        from.Fill(0x5A, stream);
        to.Fill(0, stream);
        return 2.0 * bytes / Best(context, stream, Passes, () => to.CopyFrom(from, bytes, stream)) * 1e6;
    }

    private static double Best(CudaContext context, CudaStream stream, int passes, Action queue)
    {
        using CudaEvent start = new(context), end = new(context);
        queue();
        return Enumerable.Range(0, passes).Min(_ =>
        {
            start.Record(stream);
            queue();
            end.Record(stream);
            end.Synchronize();
            return Math.Max(start.MicrosecondsTo(end), 0.1);
        });
    }
}
