using System.Collections.Immutable;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using KernelGen.Messages;

namespace KernelGen.Inference.Conversion;

/// <summary>A tensor of the result.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Its element type.</param>
/// <param name="Shape">Its dimensions, outermost first.</param>
internal sealed record PlannedTensor(string Name, TensorType Type, ImmutableArray<long> Shape)
{
    public long Bytes => TensorTypes.TryMeasure(Type, Shape.AsSpan(), out _, out long bytes)
        ? bytes
        : throw new InvalidOperationException($"{Name} has no size.");
}

/// <summary>A layer whose weights are quantized.</summary>
/// <param name="Module">Its full name.</param>
/// <param name="OutputFeatures">N.</param>
/// <param name="InputFeatures">K.</param>
/// <param name="IsTransposed">Whether the source stores the weights as [K,N]; the result has [N,K], as transformers saves it.</param>
/// <param name="OutlierColumns">The columns whose original weights are kept, ascending; null where no set was given.</param>
internal sealed record PlannedLayer(string Module, int OutputFeatures, int InputFeatures, bool IsTransposed, IReadOnlyList<int>? OutlierColumns);

/// <summary>A tensor of the source and what becomes of it.</summary>
/// <param name="Source">The source's tensor.</param>
/// <param name="Layer">How it is quantized; null where it is copied.</param>
/// <param name="Outputs">The tensors that are written for it, all into one file.</param>
internal sealed record PlannedWork(TensorInfo Source, PlannedLayer? Layer, ImmutableArray<PlannedTensor> Outputs)
{
    public long OutputBytes => Outputs.Sum(static tensor => tensor.Bytes);
}

/// <summary>A file of the result.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Work">What is in it, in the order of the source, so that the source is read from start to end.</param>
internal sealed record PlannedShard(string Name, ImmutableArray<PlannedWork> Work)
{
    public long SourceBytes => Work.Sum(static work => work.Source.ByteLength);

    public long OutputBytes => Work.Sum(static work => work.OutputBytes);
}

/// <summary>What is written where; the same for the same source and options, so that an interrupted run can be continued.</summary>
internal sealed class ConversionPlan
{
    /// <summary>A layer's outlier columns are gathered in memory.</summary>
    private const long MostOutlierWeights = 64 << 20;

    private ConversionPlan(ImmutableArray<PlannedShard> shards, ImmutableArray<string> skippedModules)
    {
        Shards = shards;
        SkippedModules = skippedModules;
    }

    public ImmutableArray<PlannedShard> Shards { get; }

    /// <summary>The layers that stay in floating point.</summary>
    public ImmutableArray<string> SkippedModules { get; }

    public IEnumerable<PlannedWork> Quantized => Shards.SelectMany(static shard => shard.Work).Where(static work => work.Layer is not null);

    /// <summary>Makes the plan.</summary>
    /// <exception cref="CheckpointException">A layer's weights are missing, of the wrong shape or type, or an option names what there is not.</exception>
    public static ConversionPlan Create(Checkpoint checkpoint, DecoderDescription description, ConversionOptions options)
    {
        Dictionary<string, PlannedLayer> layers = [];
        List<string> skipped = [];
        string prefix = CheckpointTensors.PrefixOf(checkpoint, description);
        SkipRule rule = new(description, prefix, options.SkipModules);
        LinearDescription[] linear = [.. description.LinearLayers];
        foreach (LinearDescription layer in linear)
        {
            string module = prefix + layer.Name;
            if (rule.Skips(module))
            {
                skipped.Add(module);
                continue;
            }

            RequireQuantizable(checkpoint, module, layer);
            layers.Add(module + Int8TensorNames.Weight, new PlannedLayer(
                module,
                layer.OutputFeatures,
                layer.InputFeatures,
                layer.IsTransposed,
                options.FixedOutliers is { } outliers ? ColumnsOf(outliers, module, layer) : null));
        }

        CheckNames(checkpoint, rule, [.. linear.Select(layer => prefix + layer.Name)], layers.Values, options);
        PlannedWork[] work = [.. checkpoint.Tensors.Values
            .OrderBy(static tensor => tensor.File, StringComparer.Ordinal)
            .ThenBy(static tensor => tensor.Offset)
            .ThenBy(static tensor => tensor.Name, StringComparer.Ordinal)
            .Select(tensor => Plan(tensor, layers.GetValueOrDefault(tensor.Name)))];
        RequireDistinctNames(checkpoint, work);
        return new ConversionPlan(Shard(work, options.ShardBytes), [.. skipped]);
    }

    private static PlannedWork Plan(TensorInfo source, PlannedLayer? layer)
    {
        if (layer is null)
        {
            return new PlannedWork(source, null, [new PlannedTensor(source.Name, source.Type, source.Shape)]);
        }

        ImmutableArray<PlannedTensor> outputs =
        [
            new(source.Name, TensorType.I8, [layer.OutputFeatures, layer.InputFeatures]),
            new(layer.Module + Int8TensorNames.Absmax, TensorType.F32, [layer.OutputFeatures]),
            new(layer.Module + Int8TensorNames.Format, TensorType.U8, []),
        ];
        if (layer.OutlierColumns is { } columns)
        {
            outputs = outputs.AddRange(
                new PlannedTensor(layer.Module + Int8TensorNames.OutlierColumns, TensorType.I32, [columns.Count]),
                new PlannedTensor(layer.Module + Int8TensorNames.OutlierWeights, source.Type, [columns.Count, layer.OutputFeatures]));
        }

        return new PlannedWork(source, layer, outputs);
    }

    private static ImmutableArray<PlannedShard> Shard(PlannedWork[] work, long shardBytes)
    {
        List<List<PlannedWork>> shards = [[]];
        long bytes = 0;
        foreach (PlannedWork item in work)
        {
            long size = item.OutputBytes;
            if (shards[^1].Count > 0 && size > shardBytes - bytes)
            {
                shards.Add([]);
                bytes = 0;
            }

            shards[^1].Add(item);
            bytes += size;
        }

        return [.. shards.Select((items, i) => new PlannedShard(
            shards.Count == 1 ? Checkpoint.SingleFileName : $"model-{i + 1:D5}-of-{shards.Count:D5}.safetensors", [.. items]))];
    }

    private static IReadOnlyList<int> ColumnsOf(FixedOutlierSet outliers, string module, LinearDescription layer)
    {
        IReadOnlyList<int> columns = outliers.ColumnsOf(module, layer.InputFeatures);
        return Math.BigMul(columns.Count, layer.OutputFeatures) <= MostOutlierWeights
            ? columns
            : throw new FixedOutlierSetException(
                $"{outliers.Name}: '{module}' lists {columns.Count} columns, which is most of the layer. List outlier columns alone, or leave the module out with --skip.");
    }

    private static void RequireQuantizable(Checkpoint checkpoint, string module, LinearDescription layer)
    {
        MappedTensor weight = checkpoint.Get(module + Int8TensorNames.Weight);
        TensorInfo info = weight.Info;
        if (info.Type == TensorType.I8)
        {
            throw CheckpointException.For(info.File, info.Name, "its values are I8: the checkpoint is int8 already.", "Use it as it is, or convert the original one.");
        }

        weight.RequireFloatingPoint();
        long[] shape = layer.IsTransposed ? [layer.InputFeatures, layer.OutputFeatures] : [layer.OutputFeatures, layer.InputFeatures];
        if (!info.Shape.AsSpan().SequenceEqual(shape))
        {
            throw CheckpointException.For(
                info.File, info.Name, $"its shape is {info.ShapeText}, {TensorInfo.FormatShape(shape)} was expected.", "Check that config.json belongs to this checkpoint.");
        }
    }

    private static void CheckNames(
        Checkpoint checkpoint, SkipRule rule, string[] modules, IEnumerable<PlannedLayer> quantized, ConversionOptions options)
    {
        // A module without linear layers is left alone in any case: naming it is no mistake.
        string[] all = [.. modules, .. checkpoint.Tensors.Keys.Select(static name => name.Contains('.', StringComparison.Ordinal) ? name[..name.LastIndexOf('.')] : name)];
        if (rule.Unknown(all).FirstOrDefault() is string unknown)
        {
            throw CheckpointException.For(
                checkpoint.Path, $"there is no module '{MessageText.Shorten(unknown)}' to skip.", $"Name modules such as {modules[0]}, or the last part of their names.");
        }

        if (options.FixedOutliers?.Layers.FirstOrDefault(name => quantized.All(layer => layer.Module != name)) is string stranger)
        {
            throw new FixedOutlierSetException(
                $"{options.FixedOutliers.Name}: '{MessageText.Shorten(stranger)}' is no layer that would be quantized. Name layers as the checkpoint does, such as {modules[0]}.");
        }

        if (!quantized.Any())
        {
            throw CheckpointException.For(checkpoint.Path, "every linear layer would be skipped: nothing is left to quantize.", "Skip fewer modules.");
        }
    }

    private static void RequireDistinctNames(Checkpoint checkpoint, PlannedWork[] work)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (PlannedTensor tensor in work.SelectMany(static item => item.Outputs))
        {
            if (!names.Add(tensor.Name))
            {
                throw CheckpointException.For(
                    checkpoint.Path, tensor.Name, "the checkpoint has it beside weights that are not int8.", "Download or save the checkpoint again.");
            }
        }
    }
}
