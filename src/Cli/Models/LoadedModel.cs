using KernelGen.Cli.Errors;
using KernelGen.Cli.Options;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using KernelGen.Messages;

namespace KernelGen.Cli.Models;

/// <summary>A model that a scheme was applied to, on the processor or a GPU, with what its linear layers take in memory and took in the checkpoint.</summary>
internal abstract class LoadedModel : IDisposable
{
    protected LoadedModel(string folder, DecoderDescription description)
    {
        Description = description;
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        string prefix = CheckpointTensors.PrefixOf(checkpoint, description);
        foreach (LinearDescription layer in description.LinearLayers)
        {
            TensorInfo weight = checkpoint.Get(prefix + layer.Name + Int8TensorNames.Weight).Info;
            LinearCheckpointBytes += weight.ByteLength;
            LinearParameters += weight.ElementCount;
        }
    }

    /// <summary>What the model is made of.</summary>
    public DecoderDescription Description { get; }

    /// <summary>Bytes of all parameters.</summary>
    public abstract long Bytes { get; }

    /// <summary>Bytes of the linear layers as the scheme holds them, biases and scales included.</summary>
    public abstract long LinearBytes { get; }

    /// <summary>Bytes of the linear layers' weight matrices in the checkpoint.</summary>
    public long LinearCheckpointBytes { get; }

    /// <summary>Number of values in them.</summary>
    public long LinearParameters { get; }

    /// <summary>Which layers are where, in a sentence; null where one device has them all.</summary>
    public virtual string? Placement => null;

    /// <summary>Loads a checkpoint to continue texts.</summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="scheme">How to hold and multiply the linear layers.</param>
    /// <param name="settings">Where it runs.</param>
    /// <param name="tokens">Most tokens of a text, its prompt included.</param>
    /// <param name="progress">Receives the share that is done.</param>
    /// <param name="cancellation">Ends it between two layers.</param>
    public static LoadedModel ForGeneration(
        string folder, QuantizationScheme scheme, ModelSettings settings, long tokens, IProgress<double> progress, CancellationToken cancellation) =>
        Load(
            folder,
            scheme,
            settings,
            description => new DeviceOptions
            {
                MaxBatch = 1,
                MaxContext = (int)Math.Clamp(tokens, 1, description.ContextLength),
                OutlierThreshold = settings.Threshold,
            },
            progress,
            cancellation);

    /// <summary>Loads a checkpoint to measure its perplexity.</summary>
    /// <inheritdoc cref="ForGeneration"/>
    public static LoadedModel ForEvaluation(
        string folder, QuantizationScheme scheme, ModelSettings settings, PerplexityOptions evaluation, IProgress<double> progress, CancellationToken cancellation) =>
        Load(folder, scheme, settings, description => DeviceModel.OptionsForEvaluation(description, evaluation, settings.Threshold), progress, cancellation);

    /// <summary>Continues a prompt; arguments are checked at once.</summary>
    public abstract IEnumerable<int> Stream(IReadOnlyList<int> prompt, GenerationOptions options, CancellationToken cancellation);

    /// <summary>Measures perplexity.</summary>
    public abstract PerplexityResult Evaluate(
        int[] tokens, PerplexityOptions options, IProgress<PerplexityProgress> progress, CancellationToken cancellation);

    public abstract void Dispose();

    private static LoadedModel Load(
        string folder,
        QuantizationScheme scheme,
        ModelSettings settings,
        Func<DecoderDescription, DeviceOptions> options,
        IProgress<double> progress,
        CancellationToken cancellation)
    {
        DeviceOption.Check(scheme, settings.Devices);
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(folder));
        return settings.Devices is null
            ? new LoadedCpuModel(folder, description, scheme, settings, progress, cancellation)
            : new LoadedDeviceModel(
                folder,
                description,
                scheme,
                settings.Devices,
                options(description) with { OffloadsToProcessor = settings.Devices.WithProcessor, MaxDegreeOfParallelism = settings.Threads ?? -1, Cache = settings.Cache },
                progress,
                cancellation);
    }
}

/// <summary>A model on the processor.</summary>
internal sealed class LoadedCpuModel : LoadedModel
{
    private readonly List<LinearLayer> _linear = [];
    private readonly TransformerModel _model;
    private readonly int _threads;

    public LoadedCpuModel(
        string folder, DecoderDescription description, QuantizationScheme scheme, ModelSettings settings, IProgress<double> progress, CancellationToken cancellation)
        : base(folder, description)
    {
        _threads = settings.Threads ?? -1;
        FixedOutlierSet? fixedOutliers = scheme == QuantizationScheme.Fixed ? settings.FixedOutliers : null;
        HashSet<string> strangers = [.. fixedOutliers?.Layers ?? []];
        try
        {
            LinearLayerFactory make = scheme.CreateFactory(settings.Threshold, _threads, fixedOutliers);
            _model = TransformerModel.Load(
                folder,
                source =>
                {
                    LinearLayer layer = make(source);
                    _linear.Add(layer);
                    strangers.Remove(source.Name);
                    return layer;
                },
                _threads,
                progress,
                cancellation);
        }
        catch
        {
            _linear.ForEach(static layer => layer.Dispose());
            throw;
        }

        if (strangers.Count > 0)
        {
            _model.Dispose();
            throw new BadInputException(
                $"--fixed-outliers: '{fixedOutliers!.Name}' names '{MessageText.Shorten(strangers.First())}', which is no linear layer of '{folder}'. Calibrate with this checkpoint.");
        }
    }

    public override long Bytes => _model.Bytes;

    public override long LinearBytes => _linear.Sum(static layer => layer.Bytes);

    public override IEnumerable<int> Stream(IReadOnlyList<int> prompt, GenerationOptions options, CancellationToken cancellation) =>
        new TextGenerator(_model).Stream(prompt, options, cancellation);

    public override PerplexityResult Evaluate(
        int[] tokens, PerplexityOptions options, IProgress<PerplexityProgress> progress, CancellationToken cancellation) =>
        Perplexity.Evaluate(_model, tokens, options, _threads, progress, cancellation);

    public override void Dispose() => _model.Dispose();
}

/// <summary>A model on GPUs.</summary>
internal sealed class LoadedDeviceModel : LoadedModel
{
    private readonly DeviceModel _model;
    private Inference.Serving.GenerationEngine? _engine;

    public LoadedDeviceModel(
        string folder,
        DecoderDescription description,
        QuantizationScheme scheme,
        ModelDevices devices,
        DeviceOptions options,
        IProgress<double> progress,
        CancellationToken cancellation)
        : base(folder, description)
    {
        try
        {
            _model = DeviceModel.Load(folder, devices.Gpus, scheme, options, progress, cancellation);
        }
        catch (NotSupportedException exception)
        {
            throw new BadInputException($"--device: {exception.Message}", exception);
        }
    }

    public override long Bytes => _model.Bytes;

    public override long LinearBytes => _model.LinearBytes;

    public override string? Placement => PlacementText.Of(_model.Placement);

    public override IEnumerable<int> Stream(IReadOnlyList<int> prompt, GenerationOptions options, CancellationToken cancellation)
    {
        _engine ??= _model.StartEngine();
        return _engine.GenerateAsync(prompt, options, cancellation).ToBlockingEnumerable(CancellationToken.None);
    }

    public override PerplexityResult Evaluate(
        int[] tokens, PerplexityOptions options, IProgress<PerplexityProgress> progress, CancellationToken cancellation) =>
        _model.Evaluate(tokens, options, progress, cancellation);

    public override void Dispose()
    {
        _engine?.Dispose();
        _model.Dispose();
    }
}
