namespace KernelGen.Backends.Cuda;

/// <summary>
/// LLM.int8() on a device, top to bottom: find the outliers, quantize, multiply in int8, sum the outlier products in float32, dequantize and
/// round once. Everything is queued on one stream and nothing waits for the host, so a layer can be captured in a CUDA graph and replayed with
/// other inputs, whose outlier columns may differ.
/// </summary>
internal sealed unsafe partial class CudaInt8MatMul : IDisposable
{
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
            return StreamGrid.For(multiprocessors, columnTiles, weights.KPadded / CudaInt8Weights.KBlock, gemm.BlockM);
        }

        long rowTiles = (rows + gemm.BlockM - 1) / gemm.BlockM;
        return ((uint)Math.Min(multiprocessors, rowTiles * columnTiles), 1);
    }

    private CudaKernel Load(CudaKernelVariant variant) => new(context, variant);
}
