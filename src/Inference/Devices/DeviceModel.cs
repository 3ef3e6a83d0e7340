using KernelGen.Backends.Cuda;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Observability;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Serving;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>
/// A model that runs on a GPU as a whole: parameters, key-value cache and all arithmetic are there, and tokens alone travel. Several GPUs, or a GPU and the
/// processor, can share its layers. Memory is planned before anything is loaded. Members may be called by any thread; whatever runs the model (<see cref="StartEngine"/>, <see cref="Evaluate"/>) waits until nothing
/// else does.
/// </summary>
public sealed class DeviceModel : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly SemaphoreSlim _use = new(1);
    private readonly List<CudaStage> _stages = [];
    private readonly HostLayers? _host;
    private readonly DecoderPipeline _pipeline;
    private int _disposed;

    private DeviceModel(
        DecoderPlan plan,
        DeviceScheme scheme,
        DeviceOptions options,
        DecoderWeights weights,
        IReadOnlyList<StageTarget> targets,
        Func<LayerRange, DeviceMemoryPlan, LoadingProgress, HostLayers>? offload,
        IProgress<double>? progress,
        CancellationToken cancellation)
    {
        Description = plan.Description;
        SixteenBitBytes = DeviceScheme.SixteenBitBytesOf(plan);
        try
        {
            (CudaContext Context, CudaDecoderKernels Kernels)[] devices = [.. targets.Select(target => Open(target, plan.Description))];
            PlacementPlan placement = PlacementPlan.Create(
                plan,
                scheme,
                options,
                weights.StoredBytes,
                [.. targets.Zip(devices, static (target, device) => new PlacementDevice(device.Context.Device.Name, target.FreeBytes ?? device.Context.Memory().Free))],
                offload is null ? null : new PlacementDevice("The processor", options.HostFreeBytes ?? GC.GetGCMemoryInfo().TotalAvailableMemoryBytes));
            LoadingProgress loading = new(progress, plan.Matrices.Count());
            long start = System.Diagnostics.Stopwatch.GetTimestamp();
            foreach ((DeviceMemoryPlan memory, (CudaContext context, CudaDecoderKernels kernels)) in placement.Devices.Zip(devices))
            {
                if (memory.IsHome || memory.Layers.Count > 0)
                {
                    _stages.Add(Own(new CudaStage(
                        context, kernels, plan, memory, weights, _stages.Count > 0 ? _stages[0].Inputs : null, options.OutlierThreshold, loading, cancellation)));
                }
            }

            _host = placement.Processor.Count > 0 ? Own(offload!(placement.Processor, Memory, loading)) : null;
            LoadingTime = System.Diagnostics.Stopwatch.GetElapsedTime(start);
            _pipeline = Own(new DecoderPipeline(_stages, _host, plan.Description.HiddenSize, options.StagesCopies));
            Executor = new CudaStepExecutor(plan.Description, _pipeline);
            Placement =
            [
                .. _stages.Select(static stage => new LayerPlacement(
                    $"cuda:{stage.Context.Device.Ordinal}", stage.Memory.Layers.First, stage.Memory.Layers.Count, stage.Parameters.Bytes)),
                .. (ReadOnlySpan<LayerPlacement>)(_host is null ? [] : [new LayerPlacement("cpu", placement.Processor.First, placement.Processor.Count, _host.Bytes)]),
            ];
        }
        catch
        {
            Release();
            throw;
        }
    }

    /// <summary>What the model is made of.</summary>
    public DecoderDescription Description { get; }

    /// <summary>Bytes that all parameters take, on all devices; weights that are used twice count once.</summary>
    public long Bytes => _stages.Sum(static stage => stage.Parameters.Bytes) + (_host?.Bytes ?? 0);

    /// <summary>Bytes of the linear layers alone, with scales and biases.</summary>
    public long LinearBytes => _stages.Sum(static stage => stage.Parameters.MatrixBytes) + (_host?.LinearBytes ?? 0);

    /// <summary>Which layers are where; one entry where one GPU has them all.</summary>
    public IReadOnlyList<LayerPlacement> Placement { get; }

    /// <summary>Bytes that all parameters would take in 16 bits.</summary>
    internal long SixteenBitBytes { get; }

    /// <summary>Tokens that the key-value cache holds for all texts together.</summary>
    public long CacheTokens => (long)Memory.Pages * DecoderRow.PageSize;

    /// <summary>What the model takes of the first device's memory.</summary>
    internal DeviceMemoryPlan Memory => _stages[0].Memory;

    /// <summary>Whether the residual stream goes from GPU to GPU without the host; null where it goes from none to another.</summary>
    internal bool? CopiesDirectly => _pipeline.IsDirect;

    /// <summary>For measurements: the steps themselves. One thread at a time, and no engine beside it.</summary>
    internal CudaStepExecutor Executor { get; }

    /// <summary>Time that the parameters took to be read, copied and quantized.</summary>
    internal TimeSpan LoadingTime { get; }

    /// <summary>Bytes that were copied to the device meanwhile.</summary>
    internal long BytesUploaded => _stages.Sum(static stage => stage.BytesUploaded);

    /// <summary>For tests: the first device.</summary>
    internal CudaContext Context => _stages[0].Context;

    /// <summary>Loads a checkpoint onto a GPU, quantizing it there. Memory of the host does not grow with the model.</summary>
    /// <param name="path">A folder in Hugging Face layout, in floating point or in int8 as bitsandbytes stores it.</param>
    /// <param name="device">One of <see cref="CudaDevice.All"/>.</param>
    /// <param name="scheme">How the linear layers are held and multiplied, a scheme that <see cref="QuantizationScheme.RunsOnCuda"/>.</param>
    /// <param name="options">How much is done at once; null for the defaults.</param>
    /// <param name="progress">Receives the share of the layers that are loaded, up to 1.</param>
    /// <param name="cancellation">Ends the loading between two matrices.</param>
    /// <exception cref="CheckpointException">The folder, config or a tensor is missing, damaged or of a kind that is not supported, or a weight is not finite.</exception>
    /// <exception cref="DeviceMemoryException">The memory does not suffice; nothing was loaded.</exception>
    /// <exception cref="NotSupportedException">The device or the model's sizes are not supported; the message says what is.</exception>
    /// <exception cref="ArgumentException">The scheme does not run on a GPU.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public static DeviceModel Load(
        string path,
        CudaDevice device,
        QuantizationScheme scheme,
        DeviceOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellation = default) => Load(path, (IReadOnlyList<CudaDevice>)[device], scheme, options, progress, cancellation);

    /// <summary>
    /// Loads a checkpoint onto several GPUs, which share its layers by their free memory; with <see cref="DeviceOptions.OffloadsToProcessor"/>, the processor
    /// takes the layers that fit none. Texts go through the devices one after the other, the results are those of one GPU bit for bit, but for layers of the
    /// processor, whose activations are float32.
    /// </summary>
    /// <param name="path">As for one GPU.</param>
    /// <param name="devices">The GPUs, each once; the first has embeddings and output head.</param>
    /// <param name="scheme">As for one GPU.</param>
    /// <param name="options">As for one GPU.</param>
    /// <param name="progress">As for one GPU.</param>
    /// <param name="cancellation">As for one GPU.</param>
    /// <inheritdoc cref="Load(string, CudaDevice, QuantizationScheme, DeviceOptions?, IProgress{double}?, CancellationToken)"/>
    public static DeviceModel Load(
        string path,
        IReadOnlyList<CudaDevice> devices,
        QuantizationScheme scheme,
        DeviceOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(devices);
        if (devices.Count == 0 || devices.DistinctBy(static device => device.Ordinal).Count() != devices.Count)
        {
            throw new ArgumentException("A model is loaded onto at least one GPU, and onto each once.", nameof(devices));
        }

        return Load(path, [.. devices.Select(static device => new StageTarget(device))], scheme, options, progress, cancellation);
    }

    /// <summary>For tests: loads a checkpoint onto contexts that may be of one GPU.</summary>
    internal static DeviceModel Load(
        string path,
        IReadOnlyList<StageTarget> targets,
        QuantizationScheme scheme,
        DeviceOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(scheme);
        options ??= new DeviceOptions();
        ConfigReader config = ConfigReader.Open(path);

        // Refuses what is quantized in another way; whether a layer is int8, its tensors tell.
        _ = StoredQuantization.IsInt8(config);
        DecoderDescription description = ModelFamilies.Describe(config);
        DeviceScheme onDevice = scheme.RequireCuda();
        using CheckpointWeights weights = new(path, description);
        return LoadInstruments.Measure(
            path,
            string.Join(", ", targets.Select(static target => target.Device.Name)),
            () => new DeviceModel(DecoderPlan.Of(description), onDevice, options, weights, targets, options.OffloadsToProcessor ? Offload : null, progress, cancellation),
            static model => (model.Description, model.Bytes));

        HostLayers Offload(LayerRange range, DeviceMemoryPlan memory, LoadingProgress loading) => new(
            path,
            description,
            range,
            (scheme == QuantizationScheme.Float16 ? QuantizationScheme.Parse("fp32") : scheme).CreateFactory(options.OutlierThreshold, options.MaxDegreeOfParallelism),
            memory,
            options.MaxDegreeOfParallelism,
            loading,
            cancellation);
    }

    /// <summary>Makes a model of random weights, for measurements.</summary>
    internal static DeviceModel Random(
        DecoderDescription description, IReadOnlyList<CudaDevice> devices, DeviceScheme scheme, DeviceOptions options, CancellationToken cancellation)
    {
        using RandomWeights weights = new(description);
        return new DeviceModel(
            DecoderPlan.Of(description), scheme, options, weights, [.. devices.Select(static device => new StageTarget(device))], null, null, cancellation);
    }

    /// <summary>Starts to generate texts; waits until nothing else runs the model.</summary>
    /// <returns>The engine. It has the model for itself until it is disposed, which must be before the model is.</returns>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public GenerationEngine StartEngine()
    {
        Take();
        return new GenerationEngine(Description, Executor, () => _use.Release());
    }

    /// <summary>Measures perplexity, as <see cref="Perplexity"/> does; waits until nothing else runs the model.</summary>
    /// <param name="tokens">The whole text's token ids.</param>
    /// <param name="options">Windows and batches, within what the model was loaded for; null for the defaults.</param>
    /// <param name="progress">Receives progress after every batch.</param>
    /// <param name="cancellation">Ends the evaluation between two batches.</param>
    /// <exception cref="ArgumentException">The text is shorter than one window.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="InvalidOperationException">The batches exceed what the model was loaded for: see <see cref="OptionsForEvaluation"/>.</exception>
    public PerplexityResult Evaluate(
        ReadOnlySpan<int> tokens, PerplexityOptions? options = null, IProgress<PerplexityProgress>? progress = null, CancellationToken cancellation = default)
    {
        Take();
        try
        {
            return Perplexity.Evaluate(Windows, tokens, options, -1, progress, cancellation);
        }
        finally
        {
            _ = _use.Release();
        }
    }

    /// <summary>The options to load a model with, so that it can evaluate batches of windows.</summary>
    /// <param name="description">The model.</param>
    /// <param name="evaluation">Windows and batches.</param>
    /// <param name="outlierThreshold">The outlier threshold; null for the scheme's own.</param>
    public static DeviceOptions OptionsForEvaluation(DecoderDescription description, PerplexityOptions evaluation, float? outlierThreshold = null)
    {
        ArgumentNullException.ThrowIfNull(description);
        ArgumentNullException.ThrowIfNull(evaluation);
        int length = evaluation.WindowLength ?? Math.Min(Perplexity.DefaultWindowLength, description.ContextLength);
        int windows = Math.Min(evaluation.BatchSize, evaluation.Windows ?? int.MaxValue);
        return new DeviceOptions
        {
            MaxBatch = windows,
            MaxContext = length,
            PrefillChunk = length,
            OutlierThreshold = outlierThreshold,
            RowsAtOnce = checked(windows * length),
            CacheTokens = (long)windows * DeviceScheme.RoundUp(length, DecoderRow.PageSize),
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _use.Wait();
            Release();
        }
    }

    /// <summary>For tests: the first rows of logits of the last step.</summary>
    internal void ReadLogits(Span<float> destination) => _stages[0].Decoder.ReadLogits(destination);

    /// <summary>The model as an evaluation sees it.</summary>
    internal IWindowModel Windows => new CudaWindows(Description, _pipeline);

    private (CudaContext Context, CudaDecoderKernels Kernels) Open(StageTarget target, DecoderDescription description)
    {
        CudaContext context = Own(new CudaContext(target.Device, target.OwnContext));
        CudaDecoderKernels kernels = Own(new CudaDecoderKernels(context, KernelGen.Kernels.Specs.Decoder.DecoderKernels));
        DecoderSupport.Check(description, kernels.HeadSizes, kernels.MaxWidth);
        return (context, kernels);
    }

    private void Take()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        _use.Wait();
    }

    private void Release()
    {
        for (int i = _owned.Count - 1; i >= 0; i--)
        {
            _owned[i].Dispose();
        }
    }

    private T Own<T>(T item)
        where T : IDisposable
    {
        _owned.Add(item);
        return item;
    }
}
