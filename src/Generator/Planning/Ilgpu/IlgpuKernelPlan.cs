namespace KernelGen.Generator.Planning.Ilgpu;

/// <summary>An ILGPU kernel to emit, with what the runtime has to know to launch it.</summary>
/// <param name="Role">What it does.</param>
/// <param name="Instruction">How it multiplies.</param>
/// <param name="BlockM">Rows per tile, or 0.</param>
/// <param name="BlockN">Output features per tile, or 0.</param>
/// <param name="BlockK">Values of K per round, or 0.</param>
/// <param name="Stages">K blocks in shared memory at a time, or 0.</param>
/// <param name="Threads">Threads per group.</param>
/// <param name="GroupsPerMultiprocessor">Groups that a multiprocessor shall hold.</param>
/// <param name="Outliers">Which activations are multiplied in float32.</param>
/// <param name="ZeroPoint">Whether rows of A have a zero-point.</param>
/// <param name="TensorScale">Whether all rows share a range.</param>
internal sealed record IlgpuKernelPlan(
    IlgpuKernelRole Role,
    IlgpuInstruction Instruction,
    int BlockM,
    int BlockN,
    int BlockK,
    int Stages,
    int Threads,
    int GroupsPerMultiprocessor,
    OutlierPolicy Outliers,
    bool ZeroPoint,
    bool TensorScale)
{
    /// <summary>Words from one row of sums in shared memory to the next, in a kernel whose sums pass through inline PTX.</summary>
    public int SumPitch => BlockN + 4;

    /// <summary>Outlier columns whose values a tile by inline PTX gathers in shared memory, behind the sums; more are read where they lie.</summary>
    public const int StagedColumns = 12;

    /// <summary>Where those are.</summary>
    public int StagedOffset => RowsPerPass * SumPitch * 4;

    /// <summary>Warps along M of a tile by mma.sync, which are two, and along N.</summary>
    public (int Rows, int Columns) Warps => (2, Threads / 64);

    /// <summary>Rows of sums that lie in shared memory at a time.</summary>
    public int RowsPerPass => Math.Min(BlockM, 64);

    /// <summary>Shared memory, in bytes.</summary>
    public int SharedBytes => (Role, Instruction) switch
    {
        (IlgpuKernelRole.TileGemm, IlgpuInstruction.Portable) => ((BlockM + BlockN) * ((BlockK / 4) + 1) * 4) + (BlockM * BlockN * 4),
        (IlgpuKernelRole.TileGemm, IlgpuInstruction.Dp4a) => Math.Max(EpilogueBytes, Stages * (BlockM + BlockN) * (BlockK + 16)),
        (IlgpuKernelRole.TileGemm, _) => Math.Max(EpilogueBytes, Stages * (BlockM + BlockN) * BlockK),
        (IlgpuKernelRole.FewRowGemm, _) => BlockM * BlockN * FewRowPitch * 4,
        (IlgpuKernelRole.ListOutliers, _) => Threads * 4,
        _ => ReductionWords * 4,
    };

    private int EpilogueBytes => StagedOffset + (HasOutliers ? StagedColumns * (BlockM + BlockN) * 4 : 0);

    /// <summary>Lanes that share an output feature in a kernel for few rows, and the words that their sums take.</summary>
    public const int FewRowLanes = 32, FewRowPitch = FewRowLanes + 1;

    /// <summary>Values that a group reduces at a time, and the results of the first half of it.</summary>
    public const int ReductionParts = 8;

    public int ReductionWords => 3 * (Threads + ReductionParts);

    public bool HasOutliers => Outliers != OutlierPolicy.None;

    private string Numbers => Outliers switch { OutlierPolicy.None => "", OutlierPolicy.Elements => "_elements", _ => "_columns" } + (ZeroPoint ? "_zp" : "");

    public string Name => Role switch
    {
        IlgpuKernelRole.DetectOutliers => "detect_outliers_ilgpu",
        IlgpuKernelRole.MeasureRange => $"range{Numbers}_ilgpu",
        IlgpuKernelRole.Quantize => $"quantize{Numbers}{(TensorScale ? "_tensor" : "")}_ilgpu",
        IlgpuKernelRole.ListOutliers => "list_outliers_ilgpu",
        _ => $"int8_gemm_s8t_s8n_s32_{BlockM}x{BlockN}x{BlockK}{(Stages > 1 ? $"_s{Stages}" : "")}"
            + (Instruction switch { IlgpuInstruction.MmaSync => $"_w{BlockM / Warps.Rows}x{BlockN / Warps.Columns}_mma", IlgpuInstruction.Dp4a => "_dp4a", _ => "" })
            + (Role == IlgpuKernelRole.FewRowGemm ? "_rows" : "") + Numbers + "_ilgpu",
    };
}
