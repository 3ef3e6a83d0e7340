namespace KernelGen.Generator.Planning.Cuda;

/// <summary>What the numbers of a GEMM kernel are, apart from its tile.</summary>
/// <param name="Outliers">Which activations are summed in float32 beside the int8 part.</param>
/// <param name="ZeroPoint">Whether rows of A have a zero-point.</param>
/// <param name="Output">The type that results are rounded to.</param>
internal sealed record GemmNumbers(OutlierPolicy Outliers, bool ZeroPoint, ElementFormat Output)
{
    /// <summary>Columns that one pass of the outlier sum takes.</summary>
    public const int OutlierChunk = 8;

    /// <summary>Shared memory in which three warps list outlier columns, 32 at a time.</summary>
    public const int OutlierListBytes = 3 * 32 * 4;

    public bool HasOutliers => Outliers != OutlierPolicy.None;

    public int OutputBytes => Output == ElementFormat.Float32 ? 4 : 2;

    /// <summary>How kernel names spell the numbers, e.g. <c>f16_columns</c>.</summary>
    public string Suffix => (Output switch { ElementFormat.Float16 => "f16", ElementFormat.BFloat16 => "bf16", _ => "f32" })
        + (Outliers switch { OutlierPolicy.None => "", OutlierPolicy.Elements => "_elements", _ => "_columns" })
        + (ZeroPoint ? "_zp" : "");
}

/// <summary>What a GEMM multiplies.</summary>
internal enum GemmOperands
{
    /// <summary>int8, summed in int32 and scaled.</summary>
    Int8,

    /// <summary>float16, summed in float32.</summary>
    Float16,
}

/// <summary>A persistent, warp-specialized wgmma + TMA kernel (sm_90a).</summary>
/// <param name="BlockM">Rows of A per tile: 128.</param>
/// <param name="BlockN">Output features per tile: 64, 128 or 256.</param>
/// <param name="Stages">Depth of the shared-memory ring, in K blocks of 128.</param>
/// <param name="PingPong">
/// Two consumer warpgroups take alternate tiles, so that one's epilogue hides behind the other's mainloop; otherwise they share each tile.
/// </param>
/// <param name="Numbers">What it computes.</param>
/// <param name="Operands">What it multiplies. K and its blocks count bytes.</param>
internal sealed record WgmmaGemmPlan(int BlockM, int BlockN, int Stages, bool PingPong, GemmNumbers Numbers, GemmOperands Operands = GemmOperands.Int8)
{
    public const int BlockK = 128, Threads = 384;

    public bool IsInt8 => Operands == GemmOperands.Int8;

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

    /// <summary>Ring barriers, then per outlier buffer full, empty, count and flags, then the warpgroups' turns, then the helpers' lists of columns.</summary>
    public int SharedBytes => ListOffset + (Numbers.HasOutliers ? GemmNumbers.OutlierListBytes : 0) + 1024;

    /// <summary>Where, from <see cref="BarrierOffset"/>, the two barriers are by which alternating warpgroups pass the turn.</summary>
    public int TurnOffset => (16 * Stages) + (32 * OutlierBuffers);

    public int ListOffset => BarrierOffset + TurnOffset + 16;

    public string Name => IsInt8
        ? $"int8_gemm_s8t_s8n_s32_{BlockM}x{BlockN}x{BlockK}_s{Stages}{(PingPong ? "_pp" : "")}_{Numbers.Suffix}_sm90a"
        : DecoderKernelNames.FloatGemmWgmma(BlockN, Numbers.Output);
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
    public bool DetectsAndQuantizes => Stage == QuantizeStage.DetectAndQuantizeInCluster;

    public bool ExcludesElements => Outliers == OutlierPolicy.Elements;

    public bool ExcludesColumns => Outliers is OutlierPolicy.Columns or OutlierPolicy.Fixed;

    public string Name =>
        (Stage switch { QuantizeStage.Detect => "detect_outliers", QuantizeStage.Range => "range", QuantizeStage.DetectAndQuantizeInCluster => "detect_quantize", _ => "quantize" })
        + (Input switch { ElementFormat.Float16 => "_f16", ElementFormat.BFloat16 => "_bf16", _ => "_f32" })
        + (Stage == QuantizeStage.Detect ? "" : ExcludesElements ? "_elements" : ExcludesColumns ? "_columns" : "")
        + (ZeroPoint ? "_zp" : "") + (TensorScale ? "_tensor" : "") + (Capability >= 90 ? "_sm90" : "_sm61");
}

/// <summary>
/// A kernel for few rows on sm_90a that streams the weights at memory speed: wgmma with the operands swapped (64 output features are its M,
/// the tokens its N), two blocks per multiprocessor, which take whole tiles or share them.
/// </summary>
/// <param name="Tokens">The most rows of A: 8, 16, 32 or 64.</param>
/// <param name="Stages">Depth of the ring.</param>
/// <param name="Numbers">What it computes.</param>
internal sealed record StreamGemmPlan(int Tokens, int Stages, GemmNumbers Numbers)
{
    public const int BlockN = 64, BlockK = 128, Threads = 256, ScratchSlots = 4;

    public int StageBytes => (BlockN + Tokens) * BlockK;

    public int ScratchOffset => Stages * StageBytes;

    public int OutlierOffset => ScratchOffset + StreamTile.ScratchBytes;

    public int OutlierBytes => Numbers.HasOutliers ? GemmNumbers.OutlierChunk * (BlockN + Tokens) * 4 : 0;

    public int BarrierOffset => OutlierOffset + OutlierBytes;

    /// <summary>Ring barriers, the outlier buffer's, the last ticket that was drawn, the barrier of the cluster's sums, and the helpers' lists of columns.</summary>
    public int SharedBytes => ListOffset + (Numbers.HasOutliers ? GemmNumbers.OutlierListBytes : 0) + 1024;

    public int ListOffset => BarrierOffset + (16 * Stages) + 32 + 16;

    public string Name => $"int8_gemm_s8t_s8n_s32_{Tokens}x{BlockN}x{BlockK}_s{Stages}_stream_{Numbers.Suffix}_sm90a";
}

/// <summary>
/// A kernel for a single row that nothing has quantized, on sm_90a: every block quantizes the row for itself, while its first weights come, where a kernel ahead
/// would take as long and then end, with all the waiting that costs. A block has a tile of 64 output features, or a cluster shares the tile's K. Its text is
/// kept short: small kernels that follow each other wait for their instructions.
/// </summary>
/// <param name="RowGroups">Groups of eight values that a thread keeps of the row, which decides how long it may be.</param>
/// <param name="Stages">Depth of the ring.</param>
/// <param name="Numbers">What it computes; the row is of the output's type.</param>
/// <param name="Normalizes">Whether the row is the norm of the residual stream, to which is added first.</param>
internal sealed record RowGemmPlan(int RowGroups, int Stages, GemmNumbers Numbers, bool Normalizes)
{
    public const int BlockN = RowTile.Features, BlockK = 128, StageBytes = BlockN * BlockK;

    /// <summary>The producer's warp and three that bring outliers; the consumers; and as many that quantize with them and take outliers' weights then.</summary>
    public const int FrontThreads = 128, ConsumerThreads = 128, TakerThreads = 128, RowThreads = ConsumerThreads + TakerThreads, Threads = FrontThreads + RowThreads;

    /// <summary>Outliers of one pass. A second one would begin when all else is done.</summary>
    public const int OutlierChunk = 16;

    /// <summary>The longest row, in values.</summary>
    public int LongestRow => RowThreads * RowGroups * RowTile.Group;

    /// <summary>Whether the row stays in shared memory as it is, for its outliers.</summary>
    public bool KeepsHalves => LongestRow <= RowTile.LongestKeptRow;

    /// <summary>Sums of the cluster's other blocks, s32 [rank - 1][64].</summary>
    public int RanksOffset => Stages * StageBytes;

    /// <summary>A buffer of outliers.</summary>
    public int OutlierOffset => RanksOffset + ((StreamTile.MostClusterBlocks - 1) * BlockN * 4);

    /// <summary>In the buffer of outliers, behind weights f32 [16][64]: values f32 [16], and columns u32 [16].</summary>
    public const int ValuesOffset = OutlierChunk * BlockN * 4, ColumnsOffset = ValuesOffset + (OutlierChunk * 4);

    /// <summary>The ring's barriers, full and empty by turns; the outliers', full and empty, then their number and whether they are the last; that of the cluster's sums; that of the weights taken.</summary>
    public int BarrierOffset => OutlierOffset + (Numbers.HasOutliers ? ColumnsOffset + (OutlierChunk * 4) : 0);

    public int OutlierBarrier => Stages * 16;

    public int RanksBarrier => OutlierBarrier + 24;

    public int TakenBarrier => RanksBarrier + 8;

    /// <summary>See <see cref="RowTile.Bytes"/>.</summary>
    public int RowOffset => (BarrierOffset + TakenBarrier + 8 + 127) / 128 * 128;

    /// <summary>Without what the row takes, which its length decides.</summary>
    public int SharedBytes => RowOffset + 1024;

    public string Name => $"int8_gemm_s8t_s8n_s32_1x{BlockN}x{BlockK}_s{Stages}_{(Normalizes ? "norm" : "row")}{LongestRow}_{Numbers.Suffix}_sm90a";
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
