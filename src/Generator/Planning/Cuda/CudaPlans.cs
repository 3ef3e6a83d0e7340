namespace KernelGen.Generator.Planning.Cuda;

/// <summary>What the numbers of a GEMM kernel are, apart from its tile.</summary>
/// <param name="Outliers">Which activations are summed in float32 beside the int8 part.</param>
/// <param name="ZeroPoint">Whether rows of A have a zero-point.</param>
/// <param name="Output">The type that results are rounded to.</param>
internal sealed record GemmNumbers(OutlierPolicy Outliers, bool ZeroPoint, ElementFormat Output)
{
    /// <summary>Columns that one pass of the outlier sum takes, and those where there is a single row: a second pass would begin when all else is done.</summary>
    public const int OutlierChunk = 8, RowOutlierChunk = 16;

    public bool HasOutliers => Outliers != OutlierPolicy.None;

    public int OutputBytes => Output == ElementFormat.Float32 ? 4 : 2;

    /// <summary>How kernel names spell the numbers, e.g. <c>f16_columns</c>.</summary>
    public string Suffix => (Output switch { ElementFormat.Float16 => "f16", ElementFormat.BFloat16 => "bf16", _ => "f32" })
        + (Outliers switch { OutlierPolicy.None => "", OutlierPolicy.Elements => "_elements", _ => "_columns" })
        + (ZeroPoint ? "_zp" : "");
}

/// <summary>A persistent, warp-specialized wgmma + TMA kernel (sm_90a).</summary>
/// <param name="BlockM">Rows of A per tile: 128.</param>
/// <param name="BlockN">Output features per tile: 64, 128 or 256.</param>
/// <param name="Stages">Depth of the shared-memory ring, in K blocks of 128.</param>
/// <param name="PingPong">
/// Two consumer warpgroups take alternate tiles, so that one's epilogue hides behind the other's mainloop; otherwise they share each tile.
/// </param>
/// <param name="Numbers">What it computes.</param>
internal sealed record WgmmaGemmPlan(int BlockM, int BlockN, int Stages, bool PingPong, GemmNumbers Numbers)
{
    public const int BlockK = 128, Threads = 384;

    /// <summary>Blocks of 64 rows, wgmma's M, that one consumer warpgroup holds.</summary>
    public int RowBlocks => PingPong ? BlockM / 64 : BlockM / 128;

    public int StageBytes => (BlockM + BlockN) * BlockK;

    /// <summary>Where a warpgroup's results wait for their bulk store; also scratch for the activation function.</summary>
    public int StagingBytes => 64 * RowBlocks * BlockN * 2;

    public int OutlierBuffers => Numbers.HasOutliers ? (PingPong ? 2 : 1) : 0;

    public int OutlierBytes => GemmNumbers.OutlierChunk * (BlockM + BlockN) * 4;

    public int StagingOffset => Stages * StageBytes;

    public int OutlierOffset => StagingOffset + (2 * StagingBytes);

    public int BarrierOffset => OutlierOffset + (OutlierBuffers * OutlierBytes);

    /// <summary>Ring barriers, then per outlier buffer full, empty, count and last, then the warpgroups' turns.</summary>
    public int SharedBytes => BarrierOffset + TurnOffset + 16 + 1024;

    /// <summary>Where, from <see cref="BarrierOffset"/>, the two barriers are by which alternating warpgroups pass the turn.</summary>
    public int TurnOffset => (16 * Stages) + (32 * OutlierBuffers);

    public string Name =>
        $"int8_gemm_s8t_s8n_s32_{BlockM}x{BlockN}x{BlockK}_s{Stages}{(PingPong ? "_pp" : "")}_{Numbers.Suffix}_sm90a";
}

/// <summary>What a quantization kernel does with each row.</summary>
internal enum QuantizeStage
{
    /// <summary>Marks the columns that hold an outlier.</summary>
    Detect,

    /// <summary>Widens the range that all rows share.</summary>
    Range,

    /// <summary>Quantizes.</summary>
    Quantize,

    /// <summary>Marks the columns that hold an outlier, then quantizes, in a launch of one cluster, so of few rows.</summary>
    DetectAndQuantizeInCluster,

    /// <summary>The same in a launch whose blocks all run at the same time, so of as many rows as the device's registers hold.</summary>
    DetectAndQuantizeAtOnce,
}

/// <summary>A kernel with one thread block per row of activations (or weights).</summary>
/// <param name="Stage">What it does.</param>
/// <param name="Input">The values' type.</param>
/// <param name="Outliers">What is left out: nothing, elements by threshold, or the columns of a mask.</param>
/// <param name="ZeroPoint">Whether the row has a zero-point.</param>
/// <param name="TensorScale">Whether all rows share the range that a Range kernel found.</param>
/// <param name="Capability">61, or 90 for one that lets the next kernel start early.</param>
internal sealed record QuantizePlan(
    QuantizeStage Stage, ElementFormat Input, OutlierPolicy Outliers, bool ZeroPoint, bool TensorScale, int Capability)
{
    /// <summary>Loads of eight 16-bit values that a thread keeps in registers where the row stays there.</summary>
    public const int RegisterGroups = 4;

    /// <summary>Whether rows stay in registers: symmetric rows of 16-bit values, on devices that compare such values in pairs.</summary>
    public bool InRegisters => Capability >= 90 && Input != ElementFormat.Float32 && !TensorScale && (Stage == QuantizeStage.Detect || !ZeroPoint)
        && Stage != QuantizeStage.Range;

    /// <summary>The longest row, in values, or 0 where any length will do.</summary>
    public int LongestRow => InRegisters ? 1024 * RegisterGroups * 8 : 0;

    /// <summary>Whether outlier columns are found and left out in the same launch.</summary>
    public bool DetectsAndQuantizes => Stage is QuantizeStage.DetectAndQuantizeInCluster or QuantizeStage.DetectAndQuantizeAtOnce;

    public bool ExcludesElements => Outliers == OutlierPolicy.Elements;

    public bool ExcludesColumns => Outliers is OutlierPolicy.Columns or OutlierPolicy.Fixed;

    public string Name =>
        (Stage switch { QuantizeStage.Detect => "detect_outliers", QuantizeStage.Range => "range", QuantizeStage.DetectAndQuantizeInCluster => "detect_quantize", QuantizeStage.DetectAndQuantizeAtOnce => "detect_quantize_at_once", _ => "quantize" })
        + (Input switch { ElementFormat.Float16 => "_f16", ElementFormat.BFloat16 => "_bf16", _ => "_f32" })
        + (Stage == QuantizeStage.Detect ? "" : ExcludesElements ? "_elements" : ExcludesColumns ? "_columns" : "")
        + (ZeroPoint ? "_zp" : "") + (TensorScale ? "_tensor" : "") + (Capability >= 90 ? "_sm90" : "_sm61");
}

/// <summary>What a kernel that streams weights finds the rows of A as.</summary>
internal enum StreamInput
{
    /// <summary>Quantized, with steps and the mask of outlier columns.</summary>
    Quantized,

    /// <summary>A single 16-bit row. Every block quantizes it, while its first weights come.</summary>
    Row,

    /// <summary>A single row of the residual stream in float32. Every block adds to it, normalizes and quantizes it, while its first weights come.</summary>
    Norm,
}

/// <summary>
/// A kernel for few rows on sm_90a that streams the weights at memory speed: wgmma with the operands swapped (64 output features are its M,
/// the tokens its N), two blocks per multiprocessor. K blocks of all tiles are dealt out evenly; tiles that end up split are summed exactly in int32.
/// </summary>
/// <param name="Tokens">The most rows of A: 8, 16, 32 or 64.</param>
/// <param name="Stages">Depth of the ring.</param>
/// <param name="Numbers">What it computes.</param>
/// <param name="Input">What the rows of A are; a single row, of the output's type, unless a kernel ahead has quantized them.</param>
/// <param name="RowGroups">Groups of eight values of a single row that a thread keeps in registers.</param>
internal sealed record StreamGemmPlan(int Tokens, int Stages, GemmNumbers Numbers, StreamInput Input = StreamInput.Quantized, int RowGroups = 0)
{
    public const int BlockN = 64, BlockK = 128, ScratchSlots = 4;

    /// <summary>Threads that quantize a single row: the consumers and as many again, which have nothing else to do.</summary>
    public const int RowThreads = 256;

    /// <summary>Threads beside the consumers: the producer's warp and three that gather outliers.</summary>
    private const int FrontThreads = 128, ConsumerThreads = 128;

    public bool QuantizesRow => Input != StreamInput.Quantized;

    public int Threads => FrontThreads + (QuantizesRow ? RowThreads : ConsumerThreads);

    /// <summary>The longest single row, in values.</summary>
    public int LongestRow => RowThreads * RowGroups * StreamTile.RowGroup;

    /// <summary>Whether a single row stays in shared memory as it is, for its outliers.</summary>
    public bool KeepsHalves => QuantizesRow && LongestRow <= StreamTile.LongestKeptRow;

    public int StageBytes => (BlockN + (QuantizesRow ? 0 : Tokens)) * BlockK;

    public int ScratchOffset => Stages * StageBytes;

    public int OutlierOffset => ScratchOffset + StreamTile.ScratchBytes;

    public int OutlierChunk => QuantizesRow ? GemmNumbers.RowOutlierChunk : GemmNumbers.OutlierChunk;

    public int OutlierBytes => Numbers.HasOutliers ? OutlierChunk * (BlockN + Tokens) * 4 : 0;

    public int BarrierOffset => OutlierOffset + OutlierBytes;

    /// <summary>Behind the ring's barriers, the outlier buffer's, the last ticket that was drawn, and the barrier of the cluster's sums; see <see cref="StreamTile.RowBytes"/>.</summary>
    public int RowOffset => (BarrierOffset + (16 * Stages) + 32 + 16 + 127) / 128 * 128;

    /// <summary>Without what a single row takes, which its length decides.</summary>
    public int SharedBytes => (QuantizesRow ? RowOffset : BarrierOffset + (16 * Stages) + 32 + 16) + 1024;

    public string Name =>
        $"int8_gemm_s8t_s8n_s32_{(QuantizesRow ? 1 : Tokens)}x{BlockN}x{BlockK}_s{Stages}_stream{Input switch { StreamInput.Row => $"_row{LongestRow}", StreamInput.Norm => $"_norm{LongestRow}", _ => "" }}_{Numbers.Suffix}_sm90a";
}

/// <summary>A GEMM without TMA, a tile per thread block: every thread holds a grid of results.</summary>
/// <param name="BlockM">Rows of A per tile.</param>
/// <param name="BlockN">Output features per tile.</param>
/// <param name="Numbers">What it computes.</param>
internal abstract record GridGemmPlan(int BlockM, int BlockN, GemmNumbers Numbers)
{
    public const int Threads = 256, Warps = 8, ScratchSlots = 4;

    /// <summary>Scratch of the activation function; overlays the tiles.</summary>
    public const int ScratchBytes = Threads * 16 * ScratchSlots;

    public abstract int SharedBytes { get; }

    public abstract string Name { get; }
}

/// <summary>mma.sync m16n8k32 with cp.async and ldmatrix (sm_80 and later).</summary>
/// <param name="BlockM">Rows of A per tile.</param>
/// <param name="BlockN">Output features per tile.</param>
/// <param name="WarpRows">Warps along M; the others of the eight stand along N.</param>
/// <param name="Stages">K blocks of 128 in flight.</param>
/// <param name="Numbers">What it computes.</param>
internal sealed record MmaGemmPlan(int BlockM, int BlockN, int WarpRows, int Stages, GemmNumbers Numbers) : GridGemmPlan(BlockM, BlockN, Numbers)
{
    public const int BlockK = 128;

    public int WarpM => BlockM / WarpRows;

    public int WarpN => BlockN / (Warps / WarpRows);

    public int StageBytes => (BlockM + BlockN) * BlockK;

    public override int SharedBytes => System.Math.Max(Stages * StageBytes, ScratchBytes);

    public override string Name => $"int8_gemm_s8t_s8n_s32_{BlockM}x{BlockN}x{BlockK}_s{Stages}_mma_{Numbers.Suffix}_sm80";
}

/// <summary>dp4a (sm_61 and later): 128 x 128 tiles, 8 x 8 results per thread.</summary>
/// <param name="Numbers">What it computes.</param>
internal sealed record Dp4aGemmPlan(GemmNumbers Numbers) : GridGemmPlan(128, 128, Numbers)
{
    /// <summary>Values of K per block, and bytes from row to row and of a block of both matrices, of which two are held, in shared memory.</summary>
    public const int BlockK = 64, Pitch = 80, BufferBytes = 2 * 128 * Pitch;

    public override int SharedBytes => System.Math.Max(2 * BufferBytes, ScratchBytes);

    public override string Name => $"int8_gemm_s8t_s8n_s32_{BlockM}x{BlockN}x{BlockK}_dp4a_{Numbers.Suffix}_sm61";
}
