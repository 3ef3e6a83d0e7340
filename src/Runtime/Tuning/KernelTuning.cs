using KernelGen.Observability;
using KernelGen.Tuning;

namespace KernelGen;

/// <summary>
/// The tuning records that multiplications choose their kernels by: this user's, in <c>tuning</c> below <c>KERNELGEN_CACHE</c> or the system's
/// place for caches, and those that come with the library. They decide the speed, never a result's bits on one device's kernels.
/// </summary>
/// <remarks>
/// Thread-safe, and safe between processes: any number may tune and multiply at once; each record is a file that appears whole or not at all. Records
/// that cannot be read are ignored with a warning of the category <c>KernelGen.Tuning</c>.
/// </remarks>
public static class KernelTuning
{
    private static readonly Lock Changing = new();

    private static volatile TuningRecords? s_records;

    /// <summary>
    /// Whether shapes without a record of their own are tuned as they come up, on one thread of low priority beside everything else. Their
    /// multiplications do not wait: they take what is taken without a record, and the new one when it is there. Off by default.
    /// </summary>
    public static bool TuneInBackground { get; set; }

    /// <summary>Where this user's records are; null where the system has no place for them.</summary>
    public static string? Folder => Database?.Folder;

    /// <summary>Reads the records again, after another process has tuned.</summary>
    public static void Reload()
    {
        lock (Changing)
        {
            s_records = Load();
        }
    }

    /// <summary>
    /// Finds the fastest variant for a shape on this machine's processor, keeps it for this user, and uses it from now on. It takes seconds and all
    /// processors: what else runs meanwhile makes the choice worse.
    /// </summary>
    /// <param name="kernels">The kernels of an annotated class.</param>
    /// <param name="rows">M; the record counts for all M of about that size.</param>
    /// <param name="outputFeatures">N.</param>
    /// <param name="inputFeatures">K.</param>
    /// <param name="progress">Told after every stage.</param>
    /// <param name="cancellation">Ends it between two samples; nothing is kept then.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive.</exception>
    /// <exception cref="ArgumentException">K is too long for the spec's accumulation.</exception>
    /// <exception cref="InvalidOperationException">No variant gives right results.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="IOException">The record is used, but cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">Likewise, since the folder may not be written.</exception>
    public static TunedShape Tune(
        Int8KernelSet kernels,
        int rows,
        int outputFeatures,
        int inputFeatures,
        IProgress<TuningProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        CheckShape(kernels, rows, outputFeatures, inputFeatures);
        return Tune(() => new CpuTuningWorkload(kernels, rows, outputFeatures, inputFeatures), progress, cancellation);
    }

    /// <summary>Finds the fastest variant for a shape on a GPU, for float16 activations and results; likewise for all else.</summary>
    /// <param name="device">The GPU.</param>
    /// <param name="kernels">The kernels of an annotated class.</param>
    /// <param name="rows">M; the record counts for all M of about that size.</param>
    /// <param name="outputFeatures">N.</param>
    /// <param name="inputFeatures">K.</param>
    /// <param name="progress">Told after every stage.</param>
    /// <param name="cancellation">Ends it between two samples; nothing is kept then.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive.</exception>
    /// <exception cref="InvalidOperationException">The class has no kernel for the device, or none gives right results.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="IOException">The record is used, but cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">Likewise, since the folder may not be written.</exception>
    /// <exception cref="CudaException">The device is out of memory or fails.</exception>
    public static TunedShape Tune(
        CudaDevice device,
        Int8KernelSet kernels,
        int rows,
        int outputFeatures,
        int inputFeatures,
        IProgress<TuningProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        CheckShape(kernels, rows, outputFeatures, inputFeatures);
        return Tune(
            () => CudaTuningWorkload.Alone(device, kernels.Spec, kernels.CudaVariants, ElementFormat.Float16, rows, outputFeatures, inputFeatures, kernels.Name),
            progress,
            cancellation);
    }

    /// <summary>Completes when no tuning in the background is waiting or running.</summary>
    public static Task WhenIdle() => BackgroundTuner.WhenIdle();

    /// <summary>This user's database; null where the system has no place for it.</summary>
    internal static TuningDatabase? Database => CacheFolder.Find() is { } folder ? TuningDatabase.In(folder) : null;

    /// <summary>The records in use; read when they are first needed.</summary>
    internal static TuningRecords Records => s_records ?? LoadOnce();

    /// <summary>Uses other records from now on.</summary>
    internal static void Use(TuningRecords records)
    {
        lock (Changing)
        {
            s_records = records;
        }
    }

    /// <summary>Takes a new record into use, in place of an older one of the same key.</summary>
    internal static void Add(TuningRecord record)
    {
        lock (Changing)
        {
            s_records = new TuningRecords([.. (s_records ?? Load()).All.Where(old => old.Key != record.Key), record]);
        }
    }

    /// <summary>Takes a new record into use and stores it.</summary>
    internal static void Keep(TuningRecord record)
    {
        Add(record);
        Database?.Store(record);
    }

    private static TunedShape Tune(Func<TuningWorkload> create, IProgress<TuningProgress>? progress, CancellationToken cancellation)
    {
        TuningRecord record = Tuner.Tune(create, ceilings: null, progress, cancellation);
        Keep(record);
        return new TunedShape(
            record.Chosen,
            record.Find(record.Chosen)!.Timing!.Median,
            record.Untuned,
            record.Find(record.Untuned)?.Timing?.Median,
            TimeSpan.FromSeconds(record.Seconds));
    }

    private static void CheckShape(Int8KernelSet kernels, int rows, int outputFeatures, int inputFeatures)
    {
        ArgumentNullException.ThrowIfNull(kernels);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(outputFeatures);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inputFeatures);
    }

    private static TuningRecords LoadOnce()
    {
        lock (Changing)
        {
            return s_records ??= Load();
        }
    }

    private static TuningRecords Load()
    {
        Dictionary<string, TuningRecord> records = TuningArchive.Bundled().ToDictionary(static record => record.Key.Id());
        try
        {
            TuningContent? own = Database?.Load();
            foreach (TuningRecord record in own?.Records ?? [])
            {
                records[record.Key.Id()] = record;
            }

            if (own?.Warning is { } warning)
            {
                TuningLog.RecordsIgnored(Telemetry.Logger("Tuning"), warning);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException)
        {
            TuningLog.RecordsIgnored(Telemetry.Logger("Tuning"), $"they cannot be read and are ignored: {exception.Message}");
        }

        return new TuningRecords([.. records.Values]);
    }
}
