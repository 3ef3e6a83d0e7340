using KernelGen.Backends.Cuda;
using KernelGen.Observability;

namespace KernelGen.Tuning;

/// <summary>Tunes shapes one after the other on a thread of low priority, where <see cref="KernelTuning.TuneInBackground"/> asks for it.</summary>
internal static class BackgroundTuner
{
    private static readonly Lock Guard = new();
    private static readonly Queue<Func<TuningWorkload>> Waiting = [];
    private static TaskCompletionSource? s_idle;

    /// <summary>Tells of a shape on the processor that has no record of its own.</summary>
    public static void Offer(Int8KernelSet set, ShapeKey shape)
    {
        if (KernelTuning.TuneInBackground)
        {
            Enqueue(() => new CpuTuningWorkload(set, RowBucket.Representative(shape.Bucket), shape.N, shape.K));
        }
    }

    /// <summary>Likewise on a GPU.</summary>
    public static void Offer(CudaDevice device, Int8Spec spec, IReadOnlyList<CudaKernelVariant> variants, ElementFormat output, ShapeKey shape)
    {
        if (KernelTuning.TuneInBackground)
        {
            Enqueue(() => CudaTuningWorkload.Alone(device, spec, variants, output, RowBucket.Representative(shape.Bucket), shape.N, shape.K));
        }
    }

    /// <summary>Completes when nothing is waiting or running.</summary>
    public static Task WhenIdle()
    {
        lock (Guard)
        {
            return s_idle?.Task ?? Task.CompletedTask;
        }
    }

    private static void Enqueue(Func<TuningWorkload> create)
    {
        lock (Guard)
        {
            Waiting.Enqueue(create);
            if (s_idle is null)
            {
                s_idle = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                new Thread(Work) { IsBackground = true, Name = "KernelGen tuner", Priority = ThreadPriority.BelowNormal }.Start();
            }
        }
    }

    private static void Work()
    {
        while (true)
        {
            Func<TuningWorkload>? create;
            lock (Guard)
            {
                if (!Waiting.TryDequeue(out create))
                {
                    s_idle!.SetResult();
                    s_idle = null;
                    return;
                }
            }

            try
            {
                KernelTuning.Keep(Tuner.Tune(create, ceilings: null));
            }
            catch (Exception exception) when (exception is InvalidOperationException or CudaException or IOException or UnauthorizedAccessException
                or OutOfMemoryException or ArgumentException)
            {
                TuningLog.BackgroundTuningFailed(Telemetry.Logger("Tuning"), exception, exception.Message);
            }
        }
    }
}
