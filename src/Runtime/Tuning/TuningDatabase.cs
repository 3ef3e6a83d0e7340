using System.Buffers;
using KernelGen.Storage;

namespace KernelGen.Tuning;

/// <summary>
/// A folder of tuning records, a file each, named by the record's key. A file appears under its name whole or not at all, and no write touches
/// another record's: any number of processes may tune at once, and may be killed, without a lock.
/// </summary>
internal sealed class TuningDatabase
{
    private const string Extension = ".json";

    /// <summary>No record comes near: what is larger is not read.</summary>
    private const int MostBytes = 4 << 20;

    private const int IdDigits = 32;

    /// <summary>A write takes milliseconds: what is older was left by a process that was killed.</summary>
    private static readonly TimeSpan LeftoverAge = TimeSpan.FromHours(1);

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    /// <param name="folder">Created when the first record is stored.</param>
    public TuningDatabase(string folder) => Folder = folder;

    /// <summary>The folder of this format's version in a cache folder.</summary>
    public static TuningDatabase In(string cacheFolder) => new(Path.Combine(cacheFolder, "tuning", $"v{TuningRecordJson.Version}"));

    /// <summary>Where the records are.</summary>
    public string Folder { get; }

    /// <summary>Reads every record. What is damaged, foreign or unreadable is left out and named.</summary>
    public TuningContent Load()
    {
        List<TuningRecord> records = [];
        List<TuningProblem> problems = [];
        foreach (string file in Files())
        {
            try
            {
                records.Add(Read(file));
            }
            catch (FileNotFoundException)
            {
                // Another process cleared it.
            }
            catch (Exception exception) when (exception is FormatException or IOException or UnauthorizedAccessException)
            {
                problems.Add(new TuningProblem(file, exception.Message));
            }
        }

        return new TuningContent(records, problems);
    }

    /// <summary>Stores a record in place of an older one with the same key.</summary>
    /// <exception cref="IOException">The disk is full or failed.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public void Store(TuningRecord record)
    {
        Directory.CreateDirectory(Folder);
        string id = record.Key.Id();
        string temporary = Path.Combine(Folder, $"{id}.{Environment.ProcessId}-{Guid.NewGuid():N}{DurableFiles.TemporaryExtension}");
        try
        {
            DurableFiles.Replace(Path.Combine(Folder, id + Extension), TuningRecordJson.Write(record), temporary);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Stores the records that are new here, or newer than the one here.</summary>
    /// <returns>How many were stored.</returns>
    public int Merge(IEnumerable<TuningRecord> records)
    {
        int stored = 0;
        foreach (TuningRecord record in records)
        {
            if (Find(record.Key) is { } here && here.MeasuredAt >= record.MeasuredAt)
            {
                continue;
            }

            Store(record);
            stored++;
        }

        return stored;
    }

    /// <summary>The record of a key; null where there is none that can be believed.</summary>
    public TuningRecord? Find(TuningKey key)
    {
        try
        {
            return Read(Path.Combine(Folder, key.Id() + Extension));
        }
        catch (Exception exception) when (exception is FormatException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Removes what is under a record's name but is none, and what killed processes left half written. Other files are not touched.</summary>
    public void Repair()
    {
        foreach (string file in Files().Where(IsOurs))
        {
            if (IsDamaged(file))
            {
                Remove(file);
            }
        }

        if (Directory.Exists(Folder))
        {
            foreach (string file in Directory.EnumerateFiles(Folder, "*" + DurableFiles.TemporaryExtension)
                .Where(static file => DateTime.UtcNow - File.GetLastWriteTimeUtc(file) > LeftoverAge))
            {
                File.Delete(file);
            }
        }
    }

    /// <summary>Deletes every record, damaged ones too. Files with other names are not touched.</summary>
    /// <returns>How many.</returns>
    public int Clear()
    {
        string[] ours = [.. Files().Where(IsOurs)];
        foreach (string file in ours)
        {
            File.Delete(file);
        }

        return ours.Length;
    }

    private static bool IsDamaged(string file)
    {
        try
        {
            _ = Read(file);
            return false;
        }
        catch (FormatException)
        {
            return true;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Cleared by another process, or not readable now: nothing is known against it.
            return false;
        }
    }

    /// <summary>Removes a damaged file, unless another process has just written the record anew: then what was moved away is whole.</summary>
    private static void Remove(string file)
    {
        string aside = $"{file}.{Guid.NewGuid():N}{DurableFiles.TemporaryExtension}";
        try
        {
            File.Move(file, aside);
            try
            {
                _ = Read(aside, Path.GetFileNameWithoutExtension(file));
                File.Move(aside, file, overwrite: false);
            }
            catch (FormatException)
            {
                File.Delete(aside);
            }
        }
        catch (Exception exception) when (exception is FileNotFoundException or IOException)
        {
            // Gone already, or written anew in between: either way there is a better file, or none.
        }
    }

    private static bool IsOurs(string file) =>
        Path.GetFileNameWithoutExtension(file) is { Length: IdDigits } name && !name.AsSpan().ContainsAnyExcept(HexDigits);

    private string[] Files() => Directory.Exists(Folder) ? [.. Directory.EnumerateFiles(Folder, "*" + Extension).Order(StringComparer.Ordinal)] : [];

    private static TuningRecord Read(string file) => Read(file, Path.GetFileNameWithoutExtension(file));

    private static TuningRecord Read(string file, string id)
    {
        byte[] bytes;
        using (FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0))
        {
            if (stream.Length > MostBytes)
            {
                throw new FormatException($"it has {stream.Length} bytes, more than a record can have");
            }

            bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
        }

        TuningRecord record = TuningRecordJson.Read(bytes);
        return record.Key.Id() == id
            ? record
            : throw new FormatException("it holds the record of another key than its name says");
    }
}

/// <summary>What a database holds.</summary>
/// <param name="Records">The records that can be believed.</param>
/// <param name="Problems">The files that cannot.</param>
internal sealed record TuningContent(IReadOnlyList<TuningRecord> Records, IReadOnlyList<TuningProblem> Problems)
{
    /// <summary>All problems in one sentence; null where there are none.</summary>
    public string? Warning => Problems.Count == 0
        ? null
        : $"{Problems.Count} of {Problems.Count + Records.Count} tuning records are damaged or foreign and are ignored; tuning writes them anew. "
            + $"The first is '{Problems[0].File}': {Problems[0].Reason}.";
}

/// <summary>A file that is no record.</summary>
/// <param name="File">Its path.</param>
/// <param name="Reason">What is wrong with it.</param>
internal sealed record TuningProblem(string File, string Reason);
