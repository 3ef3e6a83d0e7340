using KernelGen.Backends.Cuda;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>
/// What a model takes of a device's memory, known before anything is loaded: parameters, buffers of a step, and as many pages of the key-value cache
/// as were asked for or are left.
/// </summary>
internal sealed class DeviceMemoryPlan
{
    /// <summary>Bytes of each of the two buffers that weights are uploaded through.</summary>
    public const int StagingBytes = 32 << 20;

    /// <summary>Pairs of pinned and device buffers, so that one is read from disk while the other is copied and quantized.</summary>
    public const int StagingBuffers = 2;

    /// <summary>What the driver takes for compiled kernels, graphs and rounding of allocations; measured generously.</summary>
    private const long DriverBytes = 384L << 20;

    private readonly List<(string Part, long Bytes)> _parts = [];

    private DeviceMemoryPlan(DecoderPlan plan, DeviceScheme scheme, DeviceOptions options, LayerRange layers, bool isHome)
    {
        DecoderDescription description = plan.Description;
        (Layers, IsHome) = (layers, isHome);
        Context = options.MaxContext ?? description.ContextLength;
        Chunk = Math.Min(options.PrefillChunk, Context);
        Batch = options.MaxBatch;
        Rows = Math.Max(Math.Max(Batch, Chunk), options.RowsAtOnce);
        PagesPerSequence = DecoderRow.PagesFor(Context);
        HalfPageBytes = 2L * description.KeyValueHeads * DecoderRow.PageSize * description.HeadSize * sizeof(ushort);
        StepPageBytes = 2L * description.KeyValueHeads * DecoderRow.PageSize * sizeof(float);
        IsInt8Cache = options.Cache == CacheFormat.Int8;
        Scheme = scheme;
    }

    public DeviceScheme Scheme { get; }

    /// <summary>The layers that the device has.</summary>
    public LayerRange Layers { get; }

    /// <summary>Whether it has what lies before the first layer and after the last: embeddings, final norm, output head.</summary>
    public bool IsHome { get; }

    /// <summary>Most positions of a sequence.</summary>
    public int Context { get; }

    /// <summary>Most tokens of a prompt in one pass.</summary>
    public int Chunk { get; }

    /// <summary>Most sequences at once.</summary>
    public int Batch { get; }

    /// <summary>Most rows of a pass.</summary>
    public int Rows { get; }

    /// <summary>Entries of a line of the page table.</summary>
    public int PagesPerSequence { get; }

    /// <summary>Whether keys and values are int8.</summary>
    public bool IsInt8Cache { get; }

    /// <summary>Bytes of a float16 page of one layer, keys and values.</summary>
    public long HalfPageBytes { get; }

    /// <summary>Bytes of the steps of an int8 page of one layer.</summary>
    public long StepPageBytes { get; }

    /// <summary>Bytes of a page in one layer.</summary>
    public long LayerPageBytes => IsInt8Cache ? (HalfPageBytes / sizeof(ushort)) + StepPageBytes : HalfPageBytes;

    /// <summary>Bytes of a page that all layers of a device share: an int8 cache's layer in float16.</summary>
    public long SharedPageBytes => IsInt8Cache ? HalfPageBytes : 0;

    /// <summary>Bytes of a page in all layers of the device.</summary>
    public long PageBytes => Layers.Count == 0 ? 0 : (Layers.Count * LayerPageBytes) + SharedPageBytes;

    /// <summary>Pages of the cache.</summary>
    public int Pages { get; private set; }

    /// <summary>Bytes of all parameters.</summary>
    public long ParameterBytes { get; private set; }

    /// <summary>Bytes of the matrices alone, with statistics, biases and originals.</summary>
    public long MatrixBytes { get; private set; }

    /// <summary>What takes how many bytes.</summary>
    public IReadOnlyList<(string Part, long Bytes)> Parts => _parts;

    /// <summary>Bytes of everything.</summary>
    public long TotalBytes => _parts.Sum(static part => part.Bytes);

    /// <summary>Bytes of the room in which int8 weights become 16-bit ones for the rows of a prompt; 0 where none are.</summary>
    public long WidenedBytes { get; private set; }

    /// <summary>Rows of logits that exist at once.</summary>
    public int LogitRows => Math.Max(Batch, CudaDecoderKernels.FewRows);

    /// <summary>Plans.</summary>
    /// <param name="plan">The model.</param>
    /// <param name="scheme">How matrices are held.</param>
    /// <param name="options">What is to be done at once.</param>
    /// <param name="storedBytes">Bytes of a weight as the checkpoint stores a layer.</param>
    /// <param name="device">The device's name, for the message.</param>
    /// <param name="free">Bytes of the device that are free.</param>
    /// <exception cref="DeviceMemoryException">It does not fit; the message says what is missing.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    public static DeviceMemoryPlan Create(
        DecoderPlan plan, DeviceScheme scheme, DeviceOptions options, Func<LinearDescription, int> storedBytes, string device, long free)
    {
        DeviceMemoryPlan memory = Of(plan, scheme, options, storedBytes, plan.AllLayers, isHome: true);
        (long least, long wanted) = memory.PageBounds(options);
        long room = (free - memory.TotalBytes) / memory.PageBytes;
        memory.UsePages((int)Math.Clamp(Math.Min(wanted, room), least, int.MaxValue));
        return memory.TotalBytes <= free ? memory : throw new DeviceMemoryException(device, memory.TotalBytes, free, memory._parts);
    }

    /// <summary>What a part of a model takes, but for the cache.</summary>
    /// <param name="plan">The model.</param>
    /// <param name="scheme">How matrices are held.</param>
    /// <param name="options">What is to be done at once.</param>
    /// <param name="storedBytes">Bytes of a weight as the checkpoint stores a layer.</param>
    /// <param name="layers">The layers.</param>
    /// <param name="isHome">Whether what lies before and after the layers is part of it.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    public static DeviceMemoryPlan Of(
        DecoderPlan plan, DeviceScheme scheme, DeviceOptions options, Func<LinearDescription, int> storedBytes, LayerRange layers, bool isHome)
    {
        Check(options, plan.Description);
        DeviceMemoryPlan memory = new(plan, scheme, options, layers, isHome);
        memory.AddParameters(plan, storedBytes);
        memory.AddBuffers(plan);
        return memory;
    }

    /// <summary>
    /// The pages that a cache needs at least, and those that it is to have. Whole pages for every sequence: the last one of each may be filled in part.
    /// </summary>
    public (long Least, long Wanted) PageBounds(DeviceOptions options)
    {
        long wanted = options.CacheTokens is { } tokens ? DeviceScheme.RoundUp(tokens, DecoderRow.PageSize) / DecoderRow.PageSize : (long)Batch * PagesPerSequence;
        return (options.CacheTokens is null ? PagesPerSequence : wanted, wanted);
    }

    /// <summary>Settles how many pages the cache has.</summary>
    public void UsePages(int pages)
    {
        Pages = pages;
        _parts.Add(("key-value cache", pages * PageBytes));
    }

    private static void Check(DeviceOptions options, DecoderDescription description)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxBatch, 1, nameof(options.MaxBatch));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.MaxBatch, 1024, nameof(options.MaxBatch));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.PrefillChunk, 1, nameof(options.PrefillChunk));
        if (options.MaxContext is { } context && (context < 1 || context > description.ContextLength))
        {
            throw new ArgumentOutOfRangeException(
                nameof(options), context, $"A text has from 1 token to the model's context length, {description.ContextLength}.");
        }

        if (options.CacheTokens is { } tokens)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(tokens, 1, nameof(options.CacheTokens));
        }

        if (!Enum.IsDefined(options.Cache))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Cache, "There is no such format of a cache.");
        }

        if (options.OutlierThreshold is { } threshold && !(threshold > 0 && float.IsFinite(threshold)))
        {
            throw new ArgumentOutOfRangeException(nameof(options), threshold, "An outlier threshold is a positive, finite number.");
        }
    }

    private void AddParameters(DecoderPlan plan, Func<LinearDescription, int> storedBytes)
    {
        DecoderDescription description = plan.Description;
        MatrixBytes = plan.MatricesOf(Layers, IsHome).Sum(matrix => Scheme.BytesOf(matrix, storedBytes));
        long embeddings = IsHome ? BytesOf(description.TokenEmbedding) * (description.OutputEmbedding is null ? 1 : 2) : 0;
        if (IsHome && description.Positions is LearnedPositions learned)
        {
            embeddings += BytesOf(learned.Table);
        }

        long norms = plan.NormsOf(Layers, IsHome).Sum(static norm => (long)norm.Size * sizeof(float) * ((norm.IsAffine ? 1 : 0) + (norm.HasBias ? 1 : 0)));
        ParameterBytes = MatrixBytes + embeddings + norms;
        _parts.Add(("linear layers", MatrixBytes));
        _parts.Add(("embeddings", embeddings));
        _parts.Add(("norms", norms));

        static long BytesOf(EmbeddingDescription table) => (long)table.Rows * table.Size * sizeof(ushort);
    }

    private void AddBuffers(DecoderPlan plan)
    {
        DecoderDescription description = plan.Description;
        _parts.Add(("activations", (Rows * DecoderBuffers.BytesPerRow(plan, IsHome)) + DecoderBuffers.SingleRowBytes(plan)));
        if (IsHome)
        {
            _parts.Add(("logits", (long)LogitRows * description.VocabularySize * sizeof(float)));
        }

        _parts.Add(("inputs of a step", DecoderInputs.Bytes(this)));
        _parts.Add(("attention's workspace", CudaAttentionWorkspace.Bytes(Batch, description.Heads, description.HeadSize)));
        if (description.Positions is RotaryPositions rotary)
        {
            _parts.Add(("rotary angles", 2L * Context * rotary.Frequencies.Count * sizeof(float)));
        }

        if (Scheme.Kernels is not null)
        {
            _parts.Add(("multiplication's workspace", WorkspaceSize.Of(plan, Scheme.Kernels, Rows).Bytes));
        }
        else if (Scheme.IsInt8 && Rows >= CudaDecoderKernels.WidenedRows)
        {
            WidenedBytes = plan.Matrices.Max(static matrix => CudaDecoderKernels.WidenedBytes(matrix.OutputFeatures, matrix.InputFeatures));
            _parts.Add(("widened weights", WidenedBytes));
        }

        _parts.Add(("upload buffers", (long)StagingBuffers * StagingBytes));
        _parts.Add(("driver", DriverBytes));
    }
}
