using KernelGen.Tuning;

namespace KernelGen;

/// <summary>
/// The tuning records that multiplications choose their kernels by: this user's, in <c>tuning</c> below <c>KERNELGEN_CACHE</c> or the system's
/// place for caches, and those that come with the library. They decide the speed, never a result's bits on one device's kernels.
/// </summary>
public static class KernelTuning
{
    private static readonly Lock Changing = new();

    private static volatile TuningRecords? s_records;

    /// <summary>
    /// Told, in one sentence, when records cannot be read or written: they are ignored, and multiplications go on without them. By default
    /// it goes to <see cref="System.Diagnostics.Trace"/>.
    /// </summary>
    public static Action<string> Warn { get; set; } = static message => System.Diagnostics.Trace.TraceWarning(message);

    /// <summary>
    /// Whether shapes without a record of their own are tuned as they come up, on one thread of low priority beside everything else. Their
    /// multiplications do not wait: they take the nearest record, and the new one when it is there. Off by default.
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
                Warn(warning);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException)
        {
            Warn($"The tuning records cannot be read and are ignored: {exception.Message}");
        }

        return new TuningRecords([.. records.Values]);
    }
}
