using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using KernelGen.Inference.Checkpoints;
using KernelGen.Messages;
using KernelGen.Storage;

namespace KernelGen.Inference.Conversion;

/// <summary>A file that is finished: whole, on disk, under its name.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Checksum">The <see cref="FileChecksum"/> of the whole file.</param>
internal sealed record FinishedShard(string Name, long Bytes, string Checksum);

/// <summary>
/// What an unfinished conversion has done, so that the next run can continue: of which source, with which options, which files are
/// finished. Written durably after each file.
/// </summary>
internal sealed class ConversionJournal
{
    public const string FileName = "journal.json";

    /// <summary>Changes whenever the same source and options would give other bytes.</summary>
    private const int Version = 1;

    private const int MaxBytes = 64 << 20;

    private readonly string _path;
    private readonly string _fingerprint;
    private readonly List<FinishedShard> _finished;

    private ConversionJournal(string path, string fingerprint, List<FinishedShard> finished, bool isComplete)
    {
        _path = path;
        _fingerprint = fingerprint;
        _finished = finished;
        IsComplete = isComplete;
    }

    /// <summary>Whether every file was finished; what is left is giving the folder its name.</summary>
    public bool IsComplete { get; private set; }

    public IReadOnlyList<FinishedShard> Finished => _finished;

    /// <summary>What must be the same for a run to continue another: source, options, and the result's layout.</summary>
    public static string Fingerprint(IEnumerable<SourceIdentity> source, byte[] config, ConversionOptions options, ConversionPlan plan)
    {
        StringBuilder text = new();
        foreach (SourceIdentity file in source)
        {
            text.Append('\n').Append(file);
        }

        // The config holds threshold and skipped modules; the plan every tensor's name, type, shape and place.
        text.Append('\n').Append(Convert.ToHexStringLower(SHA256.HashData(config)));
        text.Append('\n').Append((options.Scheme ?? ConversionOptions.DefaultScheme).WeightGranularity);
        foreach (PlannedShard shard in plan.Shards)
        {
            text.Append('\n').Append(shard.Name);
            foreach (PlannedWork work in shard.Work)
            {
                text.Append('\n').Append(work.Source.Name).Append(' ').AppendJoin(',', work.Layer?.OutlierColumns ?? []);
                foreach (PlannedTensor tensor in work.Outputs)
                {
                    text.Append('\n').Append(tensor.Name).Append(' ').Append(tensor.Type.HeaderName()).AppendJoin(',', tensor.Shape);
                }
            }
        }

        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }

    /// <summary>Starts a journal, or continues that of an earlier run.</summary>
    /// <exception cref="CheckpointException">The earlier run had another source or other options, or its journal cannot be read.</exception>
    public static ConversionJournal OpenOrStart(string folder, string fingerprint)
    {
        string path = Path.Combine(folder, FileName);
        if (!File.Exists(path))
        {
            ConversionJournal started = new(path, fingerprint, [], isComplete: false);
            started.Save();
            return started;
        }

        (string before, List<FinishedShard> finished, bool isComplete) = Read(path);
        return before == fingerprint
            ? new ConversionJournal(path, fingerprint, finished, isComplete)
            : throw CheckpointException.For(
                folder,
                "this is an unfinished conversion of another state of the source, or with other options or another version of the tool.",
                "Run it with the same source and options to continue it, or delete this folder to start anew.");
    }

    /// <summary>Whether a folder holds the journal of a conversion that was complete.</summary>
    public static bool SaysComplete(string folder)
    {
        string path = Path.Combine(folder, FileName);
        return File.Exists(path) && Read(path).IsComplete;
    }

    /// <summary>Records a finished file.</summary>
    public void Add(FinishedShard shard)
    {
        lock (_finished)
        {
            _finished.Add(shard);
            Save();
        }
    }

    /// <summary>Forgets a file that turned out to be damaged.</summary>
    public void Remove(FinishedShard shard)
    {
        _finished.Remove(shard);
        IsComplete = false;
        Save();
    }

    /// <summary>Records that everything is written.</summary>
    public void Complete()
    {
        IsComplete = true;
        Save();
    }

    private static (string Fingerprint, List<FinishedShard> Finished, bool IsComplete) Read(string path)
    {
        byte[] json = SmallFile.ReadAll(path, MaxBytes);
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            if (root.GetProperty("version").GetInt32() == Version)
            {
                return (
                    root.GetProperty("fingerprint").GetString()!,
                    [.. root.GetProperty("finished").EnumerateArray().Select(static shard => new FinishedShard(
                        shard.GetProperty("name").GetString()!, shard.GetProperty("bytes").GetInt64(), shard.GetProperty("checksum").GetString()!))],
                    root.GetProperty("complete").GetBoolean());
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw CheckpointException.For(
                path, $"the journal of the unfinished conversion cannot be read ({JsonText.Describe(exception)}).", "Delete its folder to start anew.", exception);
        }

        throw CheckpointException.For(
            path, "the unfinished conversion is of another version of this tool.", "Delete its folder to start anew, or continue it with that version.");
    }

    private void Save()
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            writer.WriteNumber("version", Version);
            writer.WriteString("fingerprint", _fingerprint);
            writer.WriteBoolean("complete", IsComplete);
            writer.WriteStartArray("finished");
            foreach (FinishedShard shard in _finished)
            {
                writer.WriteStartObject();
                writer.WriteString("name", shard.Name);
                writer.WriteNumber("bytes", shard.Bytes);
                writer.WriteString("checksum", shard.Checksum);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        byte[] json = stream.ToArray();
        OutputErrors.Named(_path, () => DurableFiles.Replace(_path, json, _path + DurableFiles.TemporaryExtension));
    }
}
