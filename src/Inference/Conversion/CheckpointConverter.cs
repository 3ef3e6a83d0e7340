using System.Diagnostics;
using System.Text.Json;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Observability;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using KernelGen.Messages;
using KernelGen.Storage;

namespace KernelGen.Inference.Conversion;

/// <summary>
/// Converts a 16- or 32-bit checkpoint to int8 in the layout of Hugging Face and bitsandbytes, in memory that does not grow with the model.
/// The result has its name only when all of it is on disk; a run that was interrupted is continued by the next one with the same source,
/// output and options.
/// </summary>
/// <remarks>Thread-safe: any number of conversions may run at once; a second one into the same folder is refused, also from another process.</remarks>
public static class CheckpointConverter
{
    /// <summary>Room for the small files beside the weights, and for what a file system needs itself.</summary>
    private const long SpareBytes = 1 << 20;

    /// <summary>Converts.</summary>
    /// <param name="source">A folder in Hugging Face layout; it is only read.</param>
    /// <param name="output">The folder to make: absent or empty. Until the end, work is done in <c>output.partial</c> beside it.</param>
    /// <param name="options">Scheme, outliers, modules to skip, size of files.</param>
    /// <param name="progress">Told a few times a second how far it is; from any thread.</param>
    /// <param name="cancellation">Stops soon; what is finished is continued by the next run.</param>
    /// <returns>What was done.</returns>
    /// <exception cref="CheckpointException">
    /// The source cannot be read or converted, changed meanwhile, the output folder holds something or is being written by another run, or
    /// the disk is full or read-only. The message says which, and what to do.
    /// </exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public static Task<ConversionResult> ConvertAsync(
        string source,
        string output,
        ConversionOptions? options = null,
        IProgress<ConversionProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(source);
        ArgumentException.ThrowIfNullOrEmpty(output);
        options ??= new ConversionOptions();
        Check(options);
        string scheme = (options.Scheme ?? ConversionOptions.DefaultScheme).Name;
        return ConversionInstruments.MeasureAsync(source, output, scheme, () => RunAsync(source, output, options, progress, cancellation));
    }

    private static async Task<ConversionResult> RunAsync(
        string source, string output, ConversionOptions options, IProgress<ConversionProgress>? progress, CancellationToken cancellation)
    {
        long started = Stopwatch.GetTimestamp();
        if (!Directory.Exists(source))
        {
            throw CheckpointException.For(MessageText.Shorten(source), "there is no such folder.", "Name a checkpoint's folder in Hugging Face layout.");
        }

        CheckpointFolder folder = new(source);
        ConfigReader config = ConfigReader.Open(source);
        if (StoredQuantization.IsInt8(config))
        {
            throw CheckpointException.For(config.File, "the checkpoint is int8 already.", "Use it as it is, or convert the original one.");
        }

        DecoderDescription description = ModelFamilies.Describe(config);
        ConversionPlan plan = ReadPlan(source, description, options);
        IReadOnlyList<string> carried = CarriedFiles.List(folder);
        byte[] newConfig = QuantizedConfig.Write(config.File, description, options, plan.SkippedModules);
        Dictionary<string, SourceFile> sources = OpenSources(plan);
        try
        {
            string fingerprint = ConversionJournal.Fingerprint(sources.Values.Select(static file => file.Identity), newConfig, options, plan);
            using OutputFolder target = OutputFolder.Take(output, source);
            ConversionJournal journal = ConversionJournal.OpenOrStart(target.Partial, fingerprint);
            int resumed = plan.Shards.Length;
            if (target.IsDone)
            {
                target.RemovePartial();
            }
            else
            {
                resumed = await WriteAsync(plan, options, sources, target, journal, progress, cancellation).ConfigureAwait(false);
                WriteSmallFiles(plan, folder, carried, newConfig, target);

                // Last, when nothing is read any more: what was read must all be of one state of the source.
                foreach (SourceFile file in sources.Values)
                {
                    file.RequireUnchanged();
                }

                cancellation.ThrowIfCancellationRequested();
                journal.Complete();
                target.Publish();
            }

            return Describe(plan, description, output, resumed, Stopwatch.GetElapsedTime(started));
        }
        finally
        {
            foreach (SourceFile file in sources.Values)
            {
                file.Dispose();
            }
        }
    }

    private static void Check(ConversionOptions options)
    {
        QuantizationScheme scheme = options.Scheme ?? ConversionOptions.DefaultScheme;
        if (scheme.WeightGranularity is null)
        {
            throw new ArgumentException($"The scheme {scheme.Name} stores no int8 weights, so there is nothing to convert. Choose another one.", nameof(options));
        }

        if (options.OutlierThreshold is { } threshold && !(threshold > 0 && float.IsFinite(threshold)))
        {
            throw new ArgumentOutOfRangeException(nameof(options), threshold, "An outlier threshold is a positive number.");
        }

        if (scheme == QuantizationScheme.Fixed && options.FixedOutliers is null)
        {
            throw new ArgumentException($"The scheme {scheme.Name} needs a calibrated set of outlier columns.", nameof(options));
        }

        if (scheme.WeightGranularity != QuantizationGranularity.Vector && options.FixedOutliers is not null)
        {
            throw new ArgumentException($"The scheme {scheme.Name} has no outliers, so a set of outlier columns changes nothing. Leave it out.", nameof(options));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.ShardBytes, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MemoryBytes, 1, nameof(options));
    }

    private static ConversionPlan ReadPlan(string source, DecoderDescription description, ConversionOptions options)
    {
        // Closed again at once: from here on the files are read, not mapped.
        using Checkpoint checkpoint = Checkpoint.Open(source);

        // What a model could not be loaded from is not worth hours of conversion.
        new CheckpointTensors(checkpoint, description).RequireAllButLinearWeights(description);
        return ConversionPlan.Create(checkpoint, description, options);
    }

    private static Dictionary<string, SourceFile> OpenSources(ConversionPlan plan)
    {
        Dictionary<string, SourceFile> sources = new(StringComparer.Ordinal);
        try
        {
            foreach (string path in plan.Shards.SelectMany(static shard => shard.Work).Select(static work => work.Source.File).Distinct())
            {
                sources.Add(path, SourceFile.Open(path));
            }

            return sources;
        }
        catch
        {
            foreach (SourceFile file in sources.Values)
            {
                file.Dispose();
            }

            throw;
        }
    }

    /// <returns>The number of files that an earlier run had finished.</returns>
    private static async Task<int> WriteAsync(
        ConversionPlan plan,
        ConversionOptions options,
        Dictionary<string, SourceFile> sources,
        OutputFolder target,
        ConversionJournal journal,
        IProgress<ConversionProgress>? progress,
        CancellationToken cancellation)
    {
        foreach (FinishedShard shard in journal.Finished.ToArray())
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report(new ConversionProgress(0, plan.Shards.Sum(static planned => planned.SourceBytes), 0, null, $"verifying {shard.Name}"));
            if (!ShardOutput.IsIntact(shard, target.Files))
            {
                journal.Remove(shard);
            }
        }

        HashSet<string> finished = [.. journal.Finished.Select(static shard => shard.Name)];
        target.RemoveUnfinished(finished);
        PlannedShard[] missing = [.. plan.Shards.Where(shard => !finished.Contains(shard.Name))];
        long total = plan.Shards.Sum(static shard => shard.SourceBytes), left = missing.Sum(static shard => shard.SourceBytes);
        target.RequireSpace(missing.Sum(static shard => shard.OutputBytes) + SpareBytes);
        ProgressMeter meter = new(total, total - left, progress);
        if (missing.Length > 0)
        {
            ConversionPipeline pipeline = new(options, plan, sources, target.Files, journal, meter);
            await pipeline.RunAsync(missing, cancellation).ConfigureAwait(false);
        }

        meter.Describe("finishing");
        return finished.Count;
    }

    private static void WriteSmallFiles(
        ConversionPlan plan, CheckpointFolder source, IReadOnlyList<string> carried, byte[] newConfig, OutputFolder target)
    {
        foreach (string name in carried)
        {
            CarriedFiles.Copy(source, name, target.Files);
        }

        if (plan.Shards.Length > 1)
        {
            string index = Path.Combine(target.Files, Checkpoint.IndexFileName);
            OutputErrors.Named(index, () => DurableFiles.Replace(index, IndexOf(plan)));
        }

        string config = Path.Combine(target.Files, ConfigReader.FileName);
        OutputErrors.Named(config, () => DurableFiles.Replace(config, newConfig));
    }

    private static byte[] IndexOf(ConversionPlan plan)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            writer.WriteStartObject("metadata");
            writer.WriteNumber("total_size", plan.Shards.Sum(static shard => shard.OutputBytes));
            writer.WriteEndObject();
            writer.WriteStartObject("weight_map");
            foreach ((string tensor, string shard) in plan.Shards
                .SelectMany(static shard => shard.Work.SelectMany(static work => work.Outputs).Select(tensor => (tensor.Name, shard.Name)))
                .OrderBy(static entry => entry.Item1, StringComparer.Ordinal))
            {
                writer.WriteString(tensor, shard);
            }

            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        stream.WriteByte((byte)'\n');
        return stream.ToArray();
    }

    private static ConversionResult Describe(ConversionPlan plan, DecoderDescription description, string output, int resumed, TimeSpan elapsed) => new()
    {
        Folder = output,
        QuantizedLayers = plan.Quantized.Count(),
        SkippedLayers = description.LinearLayers.Count() - plan.Quantized.Count(),
        SourceBytes = plan.Shards.Sum(static shard => shard.SourceBytes),
        OutputBytes = plan.Shards.Sum(static shard => shard.OutputBytes),
        LinearSourceBytes = plan.Quantized.Sum(static work => work.Source.ByteLength),
        LinearOutputBytes = plan.Quantized.Sum(static work => work.OutputBytes),
        Shards = plan.Shards.Length,
        ResumedShards = resumed,
        Elapsed = elapsed,
    };
}
