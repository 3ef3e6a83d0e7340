using KernelGen.Backends.Cuda;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Observability;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Serving;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>
/// A model that runs on a GPU as a whole: parameters, key-value cache and all arithmetic are there, and tokens alone travel. Its memory is planned before
/// anything is loaded. Members may be called by any thread; whatever runs the model (<see cref="StartEngine"/>, <see cref="Evaluate"/>) waits until nothing
/// else does.
/// </summary>
public sealed class DeviceModel : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly SemaphoreSlim _use = new(1);
    private readonly CudaContext _context;
    private readonly CudaParameters _parameters;
    private readonly CudaDecoder _decoder;
    private readonly DecoderInputs _inputs;
    private readonly CudaStream _stream;
    private int _disposed;

    private DeviceModel(
        DecoderPlan plan, DeviceScheme scheme, DeviceOptions options, DecoderWeights weights, CudaDevice device, IProgress<double>? progress, CancellationToken cancellation)
    {
        Description = plan.Description;
        SixteenBitBytes = DeviceScheme.SixteenBitBytesOf(plan);
        try
        {
            _context = Own(new CudaContext(device));
            CudaDecoderKernels kernels = Own(new CudaDecoderKernels(_context, KernelGen.Kernels.Specs.Decoder.DecoderKernels));
            DecoderSupport.Check(plan.Description, kernels.HeadSizes, kernels.MaxWidth);
            Memory = DeviceMemoryPlan.Create(plan, scheme, options, weights.StoredBytes, device.Name, _context.Memory().Free);
            _stream = Own(new CudaStream(_context));
            long start = System.Diagnostics.Stopwatch.GetTimestamp();
            using (CudaWeightLoader loader = new(_context, _stream, weights))
            {
                _parameters = Own(CudaParameters.Load(plan, Memory, loader, weights, _context, _stream, progress, cancellation));
                BytesUploaded = loader.BytesCopied;
            }

            LoadingTime = System.Diagnostics.Stopwatch.GetElapsedTime(start);
            _inputs = Own(new DecoderInputs(Memory, _context));
            _decoder = Own(new CudaDecoder(plan, Memory, _parameters, _inputs, kernels, options.OutlierThreshold, _stream));
            Executor = Own(new CudaStepExecutor(plan.Description, Memory, _decoder, kernels, _inputs, _stream));
        }
        catch
        {
            Release();
            throw;
        }
    }

    /// <summary>What the model is made of.</summary>
    public DecoderDescription Description { get; }

    /// <summary>Bytes that all parameters take on the device; weights that are used twice count once.</summary>
    public long Bytes => _parameters.Bytes;

    /// <summary>Bytes of the linear layers alone, with scales and biases.</summary>
    public long LinearBytes => _parameters.MatrixBytes;

    /// <summary>Bytes that all parameters would take in 16 bits.</summary>
    internal long SixteenBitBytes { get; }

    /// <summary>Tokens that the key-value cache holds for all texts together.</summary>
    public long CacheTokens => (long)Memory.Pages * DecoderRow.PageSize;

    /// <summary>What the model takes of the device's memory.</summary>
    internal DeviceMemoryPlan Memory { get; }

    /// <summary>For measurements: the steps themselves. One thread at a time, and no engine beside it.</summary>
    internal CudaStepExecutor Executor { get; }

    /// <summary>Time that the parameters took to be read, copied and quantized.</summary>
    internal TimeSpan LoadingTime { get; }

    /// <summary>Bytes that were copied to the device meanwhile.</summary>
    internal long BytesUploaded { get; }

    /// <summary>For tests: the device.</summary>
    internal CudaContext Context => _context;

    /// <summary>Loads a checkpoint onto a GPU, quantizing it there. Memory of the host does not grow with the model.</summary>
    /// <param name="path">A folder in Hugging Face layout, in floating point or in int8 as bitsandbytes stores it.</param>
    /// <param name="device">One of <see cref="CudaDevice.All"/>.</param>
    /// <param name="scheme">How the linear layers are held and multiplied, a scheme that <see cref="QuantizationScheme.RunsOnCuda"/>.</param>
    /// <param name="options">How much is done at once; null for the defaults.</param>
    /// <param name="progress">Receives the share of the layers that are loaded, up to 1.</param>
    /// <param name="cancellation">Ends the loading between two matrices.</param>
    /// <exception cref="CheckpointException">The folder, config or a tensor is missing, damaged or of a kind that is not supported, or a weight is not finite.</exception>
    /// <exception cref="DeviceMemoryException">The device's memory does not suffice; nothing was loaded.</exception>
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
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(scheme);
        ConfigReader config = ConfigReader.Open(path);

        // Refuses what is quantized in another way; whether a layer is int8, its tensors tell.
        _ = StoredQuantization.IsInt8(config);
        DecoderDescription description = ModelFamilies.Describe(config);
        DeviceScheme onDevice = scheme.RequireCuda();
        using CheckpointWeights weights = new(path, description);
        return LoadInstruments.Measure(
            path,
            device.Name,
            () => new DeviceModel(DecoderPlan.Of(description), onDevice, options ?? new DeviceOptions(), weights, device, progress, cancellation),
            static model => (model.Description, model.Bytes));
    }

    /// <summary>Makes a model of random weights, for measurements.</summary>
    internal static DeviceModel Random(DecoderDescription description, CudaDevice device, DeviceScheme scheme, DeviceOptions options, CancellationToken cancellation)
    {
        using RandomWeights weights = new(description);
        return new DeviceModel(DecoderPlan.Of(description), scheme, options, weights, device, null, cancellation);
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
    internal void ReadLogits(Span<float> destination) => _decoder.ReadLogits(destination);

    /// <summary>The model as an evaluation sees it.</summary>
    internal IWindowModel Windows => new CudaWindows(Description, Memory, _decoder, _inputs, _stream);

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
