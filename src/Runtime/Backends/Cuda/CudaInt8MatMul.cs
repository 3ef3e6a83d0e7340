using System.Numerics;

namespace KernelGen.Backends.Cuda;

/// <summary>A matrix on the device.</summary>
/// <param name="Address">The first element.</param>
/// <param name="Format">The elements' type.</param>
/// <param name="RowStride">Elements from one row to the next.</param>
internal readonly record struct CudaMatrix(ulong Address, ElementFormat Format, int RowStride)
{
    /// <summary>Bytes of the widest loads and stores.</summary>
    public const int Alignment = 16;

    public int ElementBytes => Format == ElementFormat.Float32 ? 4 : 2;

    public long RowBytes => (long)RowStride * ElementBytes;

    /// <summary>Whether every row begins where the widest loads and stores can.</summary>
    public bool IsAligned => Address % Alignment == 0 && RowBytes % Alignment == 0;
}

/// <summary>
/// LLM.int8() on a device, top to bottom: find the outliers, quantize, multiply in int8, sum the outlier products in float32, dequantize and
/// round once. Everything is queued on one stream and nothing waits for the host, so a layer can be captured in a CUDA graph and replayed with
/// other inputs, whose outlier columns may differ.
/// </summary>
internal sealed unsafe partial class CudaInt8MatMul : IDisposable
{
    /// <summary>Values that a thread of a quantization kernel takes at a time, threads and warps of its block at most, and its static shared memory.</summary>
    private const int QuantizeGroup = 8, MaxQuantizeThreads = 1024, MaxWarps = MaxQuantizeThreads / 32, StaticQuantizeShared = 512;

    /// <summary>Rows that a block holds in registers, and groups that a thread takes of a row where there are few.</summary>
    private const int MostBlockRows = 8, FewRowsGroups = 2;

    /// <summary>Rows that a cluster marks and quantizes, which it doesn't list.</summary>
    public const int MostClusterRows = StreamTile.MostClusterBlocks * MostBlockRows;

    private readonly CudaContext context;

    private readonly Int8Spec spec;

    private readonly Dictionary<string, Lazy<CudaKernel>> kernels = [];

    private readonly List<CudaKernelVariant> usable = [];

    private readonly CudaDispatch[] dispatch;

    public CudaInt8MatMul(CudaContext context, Int8Spec spec, IEnumerable<CudaKernelVariant> variants)
    {
        this.context = context;
        this.spec = spec;
        foreach (CudaKernelVariant variant in variants.Where(variant => variant.Reject(context.Device) is null))
        {
            usable.Add(variant);
            kernels.Add(variant.Name, new Lazy<CudaKernel>(() => Load(variant)));
        }

        CudaKernelVariant[] all = [.. variants];
        dispatch = [.. Enum.GetValues<ElementFormat>().Select(format => new CudaDispatch(context.Device, spec, all, format))];
    }

    /// <summary>The variants that the device can run.</summary>
    public IReadOnlyList<CudaKernelVariant> Usable => usable;

    /// <summary>The GEMM variants that can multiply M rows into the given output type.</summary>
    public IEnumerable<CudaKernelVariant> CandidatesFor(int m, ElementFormat output) =>
        usable.Where(variant => variant.IsGemm && variant.Format == output && variant.Takes(m));

    /// <summary>Loads and compiles a variant ahead of its first use.</summary>
    public CudaKernel Kernel(CudaKernelVariant variant) => kernels[variant.Name].Value;

    /// <summary>Queues <c>output = activation(input * weights^T + bias)</c>.</summary>
    /// <param name="workspace">Grown as needed; its stream takes the work.</param>
    /// <param name="input">[rows, K].</param>
    /// <param name="rows">M.</param>
    /// <param name="weights">[N, K].</param>
    /// <param name="output">[rows, N].</param>
    /// <param name="bias">Address of N float32 values padded to <see cref="CudaInt8Weights.Padded"/>, or 0.</param>
    /// <param name="activation">Applied before rounding.</param>
    /// <param name="gemm">
    /// The kernel that multiplies; null for the one that <see cref="Choose"/> takes or, where that one streams, <see cref="SingleRow"/>.
    /// </param>
    public void Multiply(
        CudaMatMulWorkspace workspace,
        CudaMatrix input,
        int rows,
        CudaInt8Weights weights,
        CudaMatrix output,
        ulong bias = 0,
        Activation activation = Activation.None,
        CudaKernelVariant? gemm = null)
    {
        if (rows == 0)
        {
            return;
        }

        gemm ??= ChooseFor(input, rows, weights, output.Format, activation);
        if (gemm.Role == CudaKernelRole.RowGemm && rows == 1)
        {
            MultiplyRow(workspace.Stream, input, null, weights, output, bias, activation, gemm);
            return;
        }

        Reserve(workspace, gemm, rows, weights);
        QuantizeActivations(workspace, input, rows, weights);
        Gemm(workspace, input, rows, weights, output, bias, activation, gemm, early: true);
    }

    /// <summary>Makes room for a multiplication, as <see cref="Multiply"/> does.</summary>
    public static void Reserve(CudaMatMulWorkspace workspace, CudaKernelVariant gemm, int rows, CudaInt8Weights weights)
    {
        bool streams = gemm.Role == CudaKernelRole.StreamGemm;
        long tiles = streams ? (weights.OutputFeatures + gemm.BlockN - 1) / gemm.BlockN : 0;
        workspace.Reserve(rows, weights.KPadded, tiles * gemm.BlockM * gemm.BlockN * 4, tiles);
    }

    /// <summary>
    /// Where the kernel that computes the activations can quantize them itself, in place of <see cref="QuantizeActivations"/>; null where all rows
    /// share a scale, which no row knows. The workspace must be reserved.
    /// </summary>
    public CudaQuantizeTarget? QuantizeTarget(CudaMatMulWorkspace workspace, int rows, CudaInt8Weights weights) => spec.Granularity == QuantizationGranularity.Tensor
        ? null
        : new CudaQuantizeTarget(
            spec.Outliers,
            spec.Activations == ActivationQuantization.ZeroPoint,
            spec.OutlierThreshold,
            workspace.Quantized,
            workspace.RowSteps,
            workspace.RowZeros,
            MaskOf(workspace, weights),
            workspace.RowOutliers(rows),
            workspace.RowOutlierPitch,
            weights.KPadded);

    /// <summary>Queues the first part: outliers found, rows quantized into the workspace.</summary>
    /// <param name="workspace">Takes the result.</param>
    /// <param name="input">[rows, K].</param>
    /// <param name="rows">M.</param>
    /// <param name="weights">[N, K].</param>
    /// <param name="marked">Whether the kernel ahead has marked the outlier columns already.</param>
    public void QuantizeActivations(CudaMatMulWorkspace workspace, CudaMatrix input, int rows, CudaInt8Weights weights, bool marked = false)
    {
        QuantizeArguments arguments = new()
        {
            Input = input.Address,
            Quantized = workspace.Quantized,
            RowSteps = workspace.RowSteps,
            RowZeros = spec.Activations == ActivationQuantization.ZeroPoint ? workspace.RowZeros : 0,
            OutlierMask = MaskOf(workspace, weights),
            TensorRange = workspace.TensorRange,
            RowOutliers = workspace.RowOutliers(rows),
            RowOutlierPitch = workspace.RowOutlierPitch,
            K = (uint)weights.InputFeatures,
            KPadded = (uint)weights.KPadded,
            InputStride = (uint)input.RowStride,
            Threshold = spec.OutlierThreshold,
            Aligned = input.IsAligned ? 1u : 0u,
            Rows = (uint)rows,
            ThresholdPair = ThresholdPair(spec.OutlierThreshold, input.Format),
        };
        // Every kernel waits for the one ahead of it before it touches what that one writes: so each may be scheduled early.
        if (!marked && rows == 1 && RowKernel(CudaKernelRole.QuantizeOneRow, input.Format, arguments) is { } single)
        {
            Launch(single, arguments, rows, input, workspace.Stream, early: true);
            return;
        }

        if (!marked && LaunchInCluster(arguments, input.Format, workspace.Stream))
        {
            return;
        }

        if (spec.Outliers == OutlierPolicy.Columns && !marked)
        {
            CudaKernelVariant detect = Launch(CudaKernelRole.DetectOutliers, arguments, rows, input, workspace.Stream, early: true);
            arguments.InputReady = IsInRegisters(detect) && spec.Granularity != QuantizationGranularity.Tensor ? 1u : 0u;
        }

        if (spec.Granularity == QuantizationGranularity.Tensor)
        {
            CudaDriver.Check(CudaDriver.cuMemsetD8Async(workspace.TensorRange, 0, 8, workspace.Stream.Value));
            Launch(CudaKernelRole.MeasureRange, arguments, rows, input, workspace.Stream, early: false);
        }

        Launch(CudaKernelRole.Quantize, arguments, rows, input, workspace.Stream, early: true);
    }

    /// <summary>
    /// Queues the quantization of a block of weights: the same rounding that activations get, a scale per row and nothing left apart, so these must be
    /// kernels without outliers.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="input">The block, [rows, K].</param>
    /// <param name="rows">Rows of the block.</param>
    /// <param name="weights">Receives the rows and their steps; a step is NaN where the row is not finite.</param>
    /// <param name="firstRow">The block's first row there.</param>
    public void QuantizeWeights(CudaStream stream, CudaMatrix input, int rows, CudaInt8Weights weights, int firstRow)
    {
        if (spec is not { Outliers: OutlierPolicy.None, Activations: ActivationQuantization.Symmetric, Granularity: QuantizationGranularity.Vector })
        {
            throw new InvalidOperationException("Weights are quantized by kernels without outliers or zero-points, with a scale per row.");
        }

        QuantizeArguments arguments = new()
        {
            Input = input.Address,
            Quantized = weights.Quantized.Address + (ulong)((long)firstRow * weights.KPadded),
            RowSteps = weights.ColumnSteps + (ulong)((long)firstRow * sizeof(float)),
            K = (uint)weights.InputFeatures,
            KPadded = (uint)weights.KPadded,
            InputStride = (uint)input.RowStride,
            Aligned = input.IsAligned ? 1u : 0u,
            Rows = (uint)rows,
            ThresholdPair = ThresholdPair(spec.OutlierThreshold, input.Format),
        };
        Launch(CudaKernelRole.Quantize, arguments, rows, input, stream, early: false);
    }

    /// <summary>Queues the second part: multiplication and epilogue.</summary>
    /// <param name="workspace">What <see cref="QuantizeActivations"/> filled.</param>
    /// <param name="input">The activations, for their outliers.</param>
    /// <param name="rows">M.</param>
    /// <param name="weights">[N, K].</param>
    /// <param name="output">[rows, N].</param>
    /// <param name="bias">As in <see cref="Multiply"/>.</param>
    /// <param name="activation">Applied before rounding.</param>
    /// <param name="gemm">The kernel.</param>
    /// <param name="early">Whether the kernel may start while the quantization ahead of it still runs.</param>
    public void Gemm(
        CudaMatMulWorkspace workspace,
        CudaMatrix input,
        int rows,
        CudaInt8Weights weights,
        CudaMatrix output,
        ulong bias,
        Activation activation,
        CudaKernelVariant gemm,
        bool early)
    {
        if (!gemm.IsGemm || !gemm.Takes(rows))
        {
            throw new ArgumentException($"{gemm.Name} does not multiply {rows} quantized rows.", nameof(gemm));
        }

        CudaKernel kernel = Kernel(gemm);
        GemmArguments arguments = new()
        {
            Quantized = workspace.Quantized,
            Weights = weights.Quantized.Address,
            Output = output.Address,
            RowSteps = workspace.RowSteps,
            ColumnSteps = weights.ColumnSteps,
            RowZeros = workspace.RowZeros,
            WeightSums = weights.WeightSums,
            Bias = bias,
            Activations = input.Address,
            OutlierMask = MaskOf(workspace, weights),
            OutlierTicket = workspace.OutlierTicket,
            KeepMask = spec.Outliers == OutlierPolicy.Fixed ? 1u : 0u,
            RowOutliers = workspace.RowOutliers(rows),
            RowOutlierPitch = workspace.RowOutlierPitch,
            Originals = weights.Originals,
            Partials = workspace.Partials,
            PartialTickets = workspace.PartialTickets,
            M = (uint)rows,
            N = (uint)weights.OutputFeatures,
            KPadded = (uint)weights.KPadded,
            ActivationStride = (uint)input.RowStride,
            OutputStride = (uint)output.RowStride,
            InputFormat = (uint)input.Format,
            OriginalFormat = (uint)weights.OriginalFormat,
            OriginalStride = (uint)weights.OriginalStride,
            OriginalsCompact = weights.OriginalsCompact ? 1u : 0u,
            Activation = (uint)activation,
            MaskWords = (uint)(weights.KPadded / 32),
            Threshold = spec.OutlierThreshold,
            StoreDirectly = output.IsAligned ? 0u : 1u,
        };
        bool usesTma = gemm.Role is CudaKernelRole.WgmmaGemm or CudaKernelRole.StreamGemm;
        if (!usesTma)
        {
            void** simple = stackalloc void*[] { &arguments };
            kernel.Launch(workspace.Stream, TileGrid(gemm, rows, weights.OutputFeatures), (uint)gemm.Threads, gemm.SharedBytes, simple);
            return;
        }

        (uint grid, uint cluster) = PersistentGrid(gemm, rows, weights);

        // What one warpgroup stores at a time; results of few rows leave without TMA.
        int storedRows = gemm.Role == CudaKernelRole.StreamGemm ? 0 : gemm.Alternating ? gemm.BlockM : gemm.BlockM / 2;
        TensorGemm tiles = new(workspace.Quantized, weights.KPadded, weights.Quantized.Address, weights.KPadded, weights.KPadded, gemm.BlockM, gemm.BlockN, storedRows);
        tiles.Launch(context, workspace.Stream, kernel, arguments, output, grid, cluster, early);
    }

    /// <summary>The kernel for a shape: what tuning found for it, else what the rules say.</summary>
    public CudaKernelVariant Choose(int m, int n, int k, ElementFormat output) => dispatch[(int)output].Choose(m, n, k);

    public void Dispose()
    {
        foreach (Lazy<CudaKernel> kernel in kernels.Values.Where(kernel => kernel.IsValueCreated))
        {
            kernel.Value.Dispose();
        }
    }

    /// <summary>The calibrated columns, or those that this multiplication's activations show; no columns where none were calibrated.</summary>
    private static ulong MaskOf(CudaMatMulWorkspace workspace, CudaInt8Weights weights) =>
        weights.FixedMask != 0 ? weights.FixedMask : workspace.OutlierMask;

    private static uint TileGrid(CudaKernelVariant gemm, int rows, int columns) =>
        checked((uint)(((rows + gemm.BlockM - 1) / gemm.BlockM) * ((columns + gemm.BlockN - 1) / gemm.BlockN)));

    private (uint Grid, uint Cluster) PersistentGrid(CudaKernelVariant gemm, int rows, CudaInt8Weights weights)
    {
        int multiprocessors = context.Device.Multiprocessors;
        long columnTiles = (weights.OutputFeatures + gemm.BlockN - 1) / gemm.BlockN;
        if (gemm.Role == CudaKernelRole.StreamGemm)
        {
            return StreamGrid(columnTiles, weights.KPadded / CudaInt8Weights.KBlock, gemm.BlockM);
        }

        long rowTiles = (rows + gemm.BlockM - 1) / gemm.BlockM;
        return ((uint)Math.Min(multiprocessors, rowTiles * columnTiles), 1);
    }

    /// <summary>
    /// As many blocks as there is room for, each with whole tiles. Where tiles leave multiprocessors idle, a cluster per tile shares its K, if that is long enough; and
    /// where even clusters leave most of them idle, equal shares of everything, more than there are tiles, whose sums go by way of global memory.
    /// </summary>
    private (uint Grid, uint Cluster) StreamGrid(long tiles, long kBlocks, int tokens)
    {
        if (tiles > StreamSlots)
        {
            return ((uint)StreamSlots, 1);
        }

        return ClusterGrid(tiles, kBlocks, tokens) ?? ((uint)Math.Min(StreamSlots, tiles * ((kBlocks + 1) / 2)), 1);
    }

    /// <summary>Blocks that stream weights at the same time, two on each multiprocessor.</summary>
    private long StreamSlots => 2L * context.Device.Multiprocessors;

    /// <summary>A block or a cluster for each tile; null where K is long and they would leave most of the device idle.</summary>
    private (uint Grid, uint Cluster)? ClusterGrid(long tiles, long kBlocks, int tokens)
    {
        const int LongK = 16, LeastRankBlocks = 4;
        long ranks = 1;
        bool isLong = kBlocks >= LongK;

        // Clusters stay within a group of multiprocessors, and those of more than two do not divide it: of four blocks, 62 fit into 264 slots, and the 64th would be a second wave.
        long clusterSlots = StreamSlots * 3 / 4;
        for (int more = 2; isLong && more <= StreamTile.MostRanks(tokens) && kBlocks / more >= LeastRankBlocks && more * tiles <= (more == 2 ? StreamSlots : clusterSlots); more++)
        {
            ranks = more;
        }

        return !isLong || ranks * tiles * 3 >= context.Device.Multiprocessors ? ((uint)(ranks * tiles), (uint)ranks) : null;
    }

    /// <summary>The newest kernel of a role that takes such rows; null where there is none.</summary>
    private CudaKernelVariant? RowKernel(CudaKernelRole role, ElementFormat input, in QuantizeArguments arguments)
    {
        (uint kPadded, bool aligned) = (arguments.KPadded, arguments.Aligned != 0);
        return usable.Where(variant => variant.Role == role && variant.Format == input && (variant.BlockN == 0 || (aligned && kPadded <= variant.BlockN)))
            .MaxBy(variant => variant.Capability);
    }

    private CudaKernelVariant Launch(CudaKernelRole role, QuantizeArguments arguments, int rows, CudaMatrix input, CudaStream stream, bool early)
    {
        CudaKernelVariant variant = RowKernel(role, input.Format, arguments)
            ?? throw new InvalidOperationException($"No generated kernel quantizes {input.Format} activations on {context.Device}.");
        Launch(variant, arguments, rows, input, stream, early);
        return variant;
    }

    /// <summary>Whether a quantization kernel keeps rows in registers.</summary>
    private static bool IsInRegisters(CudaKernelVariant variant) => variant.BlockN > 0;

    private void Launch(CudaKernelVariant variant, QuantizeArguments arguments, int rows, CudaMatrix input, CudaStream stream, bool early)
    {
        if (IsInRegisters(variant))
        {
            LaunchInRegisters(variant, arguments, rows, stream, early);
            return;
        }

        int groups = (int)(arguments.KPadded / QuantizeGroup);
        int perThread = groups <= 256 ? 1 : 2;
        int threads = Math.Clamp((((groups + perThread - 1) / perThread) + 31) / 32 * 32, 32, MaxQuantizeThreads);
        long cache = (long)arguments.KPadded * input.ElementBytes;
        bool cached = cache <= context.Device.SharedMemoryPerBlock - StaticQuantizeShared;
        arguments.Cached = cached ? 1u : 0u;
        CudaKernel kernel = Kernel(variant);
        if (cached && cache > (48 << 10) - StaticQuantizeShared)
        {
            kernel.AllowShared((int)cache);
        }

        void** parameters = stackalloc void*[] { &arguments };
        kernel.Launch(stream, (uint)rows, (uint)threads, cached ? (int)cache : 0, parameters, early && variant.Capability >= 90);
    }

    private void LaunchInRegisters(CudaKernelVariant variant, QuantizeArguments arguments, int rows, CudaStream stream, bool early)
    {
        (int warps, int rowsPerBlock) = RegisterRows(variant, arguments);
        arguments.WarpsPerRow = (uint)warps;
        void** parameters = stackalloc void*[] { &arguments };
        Kernel(variant).Launch(stream, (uint)((rows + rowsPerBlock - 1) / rowsPerBlock), (uint)(32 * warps * rowsPerBlock), 0, parameters, early);
    }

    /// <summary>
    /// As few warps per row as its registers allow, several rows per block; of few rows more warps and blocks, but not so many that they would have no room beside the
    /// blocks of the multiplication ahead, whose end they would have to await before they begin.
    /// </summary>
    private static (int Warps, int RowsPerBlock) RegisterRows(CudaKernelVariant variant, in QuantizeArguments arguments)
    {
        const int FewRows = 64;
        int rows = (int)arguments.Rows, groups = (int)(arguments.KPadded / QuantizeGroup);
        (int perThread, int blockWarps) = rows <= FewRows ? (FewRowsGroups, 8) : (variant.BlockN / QuantizeGroup / MaxQuantizeThreads, 16);
        int warps = Math.Min((((groups + perThread - 1) / perThread) + 31) / 32, MaxWarps);
        return (warps, Math.Clamp(blockWarps / warps, 1, Math.Min(MostBlockRows, rows)));
    }

    /// <summary>Marks and quantizes rows in one launch, where the registers of one cluster hold them and there is a kernel for it.</summary>
    private bool LaunchInCluster(QuantizeArguments arguments, ElementFormat input, CudaStream stream)
    {
        int rows = (int)arguments.Rows, groups = (int)(arguments.KPadded / QuantizeGroup);
        if (rows > MostClusterRows || RowKernel(CudaKernelRole.QuantizeFewRows, input, arguments) is not { } variant)
        {
            return false;
        }

        int blocks = Math.Min((int)BitOperations.RoundUpToPowerOf2((uint)rows), StreamTile.MostClusterBlocks), rowsPerBlock = (rows + blocks - 1) / blocks;
        int warps = Math.Min((((groups + FewRowsGroups - 1) / FewRowsGroups) + 31) / 32, MaxWarps / rowsPerBlock), held = variant.BlockN / MaxQuantizeThreads * 32 * warps / QuantizeGroup;
        if (held < groups)
        {
            return false;
        }

        arguments.WarpsPerRow = (uint)warps;
        void** parameters = stackalloc void*[] { &arguments };
        Kernel(variant).Launch(stream, (uint)blocks, (uint)(32 * warps * rowsPerBlock), 0, parameters, early: true, cluster: (uint)blocks);
        return true;
    }

    /// <summary>Comparing 16-bit values with the smallest such value that is not below the threshold is comparing them with the threshold.</summary>
    private static uint ThresholdPair(float threshold, ElementFormat format)
    {
        uint bits = 0;
        if (format == ElementFormat.Float16)
        {
            Half nearest = (Half)threshold;
            bits = BitConverter.HalfToUInt16Bits((float)nearest < threshold ? Half.BitIncrement(nearest) : nearest);
        }
        else if (format == ElementFormat.BFloat16)
        {
            bits = (uint)(((ulong)BitConverter.SingleToUInt32Bits(threshold) + 0xFFFF) >> 16);
        }

        return bits | (bits << 16);
    }

    private CudaKernel Load(CudaKernelVariant variant) => new(context, variant);
}
