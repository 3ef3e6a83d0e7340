using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The usual case of <see cref="OutlierHelpers"/> in the wgmma kernels: 16-bit activations with at most eight outlier columns, whose weights are the int8 ones. Those
/// pass through the ring of stages anyway, so the first helper warp picks them out there; the other two warps read what the quantization has listed of each row
/// (<see cref="OutlierRowList"/>). Both hide behind the mainloop of the tile they belong to. What they leave are halves for the tensor cores: weights [blockN][8],
/// then values [blockM][8].
/// </summary>
/// <remarks>
/// Under <c>Elements</c> a row must have the same bits whoever sums it, so a tile is left to the general case unless all its sums are exact. An outlier of 16 bits
/// is a multiple of the last place of the threshold's binade as float16 has it; then so is every partial sum, and as long as none can pass 2^24 of those places,
/// float32 and tensor cores, which align the products of an instruction to 24 bits at least, hold it exactly. At a threshold of 6 that is a row whose outliers'
/// magnitudes add up to 508. Values under <c>Columns</c> can be of any size: there the last bits of float32 depend on who sums.
/// </remarks>
internal static class StagedOutliers
{
    private const int Lanes = OutlierHelpers.Lanes, Chunk = GemmNumbers.OutlierChunk;

    /// <summary>Number of the helpers' barrier; 1 and 2 are the consumers'.</summary>
    private const int HelperBarrier = 3;

    /// <summary>mostTotal: 2^24 last places of the threshold's binade in float16, over 129, of which a weight has less.</summary>
    private static readonly string MostTotal = $"""
        and.b32 item, threshold, 0x7F800000;
        mov.b32 mostTotal, item;
        max.f32 mostTotal, mostTotal, {PtxWriter.F32(6.103515625e-5f)};
        mul.rn.f32 mostTotal, mostTotal, {PtxWriter.F32(16384f / 129f)};
        """;

    public static void Declare(PtxWriter ptx, WgmmaGemmPlan plan) => ptx
        .Registers("b32", Enumerable.Range(0, Chunk * Parts(plan)).SelectMany(entry => new[] { $"column{entry}", $"value{entry}" }).ToArray())
        .Registers("b32", Enumerable.Range(0, plan.BlockN / Lanes).Select(i => $"picked{i}").ToArray())
        .Registers("b32", "gatherRow", "hits", "byteAt", "chunkAt", "swizzled", "weightAt", "rowOutlierPitch", "zeroWord", "tileFlags", "tilePasses", "passesLeft")
        .Registers("b64", "rowOutliers")
        .Registers("f32", IsExact(plan) ? [.. PtxRegisters.Names("rowTotal", Parts(plan)), "mostTotal"] : [])
        .Registers("pred", "isHit", "picksWeights", "readsNoRows", "isInexact");

    /// <summary>Whether tiles whose sums are not exact are left to the general case.</summary>
    private static bool IsExact(WgmmaGemmPlan plan) => plan.Numbers.Outliers == OutlierPolicy.Elements;

    /// <summary>Rows of a tile that a lane has: two warps share them.</summary>
    private static int Parts(WgmmaGemmPlan plan) => plan.BlockM / 2 / Lanes;

    /// <summary>What belongs before the list of columns: rows' lists of the block's first tile are on their way while the mask is.</summary>
    public static void Start(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        ptx.Argument("rowOutliers", nameof(GemmArguments.RowOutliers), "u64")
           .Argument("rowOutlierPitch", nameof(GemmArguments.RowOutlierPitch), "u32")
           .Add($"""
            setp.lt.u32 picksWeights, helperThread, {Lanes};
            setp.eq.or.u64 readsNoRows, rowOutliers, 0, picksWeights;
            """);
        WgmmaGemm.LocateTile(ptx, plan);
        LoadRows(ptx, plan, 0);
    }

    /// <summary>
    /// After <see cref="Start"/>: walks every tile of the block, or goes to <paramref name="otherwise"/> where there are no outliers, more than a buffer takes,
    /// 16-bit originals, activations in float32 or no lists: then the stages are not looked at, and their barriers expect this warp no longer.
    /// </summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="plan">The tile.</param>
    /// <param name="otherwise">The label of the general case.</param>
    /// <param name="done">The label behind the last tile.</param>
    public static void Walk(PtxWriter ptx, WgmmaGemmPlan plan, string otherwise, string done)
    {
        string staged = ptx.Label("STAGED"), tiles = ptx.Label("STAGED_TILE"), rows = ptx.Label("GATHER_ROWS"), gathered = ptx.Label("TILE_GATHERED");
        string exact = ptx.Label("TILE_EXACT"), next = ptx.Label("NEXT_TILE");
        ptx.Add($"""
            setp.ne.u32 isMine, listCount, 0;
            setp.le.and.u32 isMine, listCount, {Chunk}, isMine;
            and.pred isMine, isMine, listKept;
            setp.ne.and.u64 isMine, rowOutliers, 0, isMine;
            or.pred more, hasOriginals, inputIsF32;
            not.pred more, more;
            and.pred isMine, isMine, more;
            @isMine bra {staged};
            setp.eq.and.u32 more, helperLane, 0, picksWeights;
            @!more bra {otherwise};
            """);
        for (int stage = 0; stage < plan.Stages; stage++)
        {
            ptx.Add($"mbarrier.arrive_drop.shared::cta.b64 _, [barriers+{(stage * 16) + 8}];");
        }

        ptx.Add($"""
            bra {otherwise};
            {staged}:
            mov.b32 zeroWord, 0;
            {(IsExact(plan) ? MostTotal : "")}
            setp.ge.u32 atEnd, tile, tiles;
            @atEnd bra {done};
            {tiles}:
            """);
        OutlierHelpers.AwaitEmpty(ptx);
        ptx.Add("setp.ne.u32 isInexact, helperLane, helperLane;").Add($"@!picksWeights bra {rows};");
        PickWeights(ptx, plan);
        ptx.Add($"bra {gathered};").Add($"{rows}:");
        StoreRows(ptx, plan);
        ptx.Add($"""
            {gathered}:
            bar.warp.sync 0xFFFFFFFF;
            bar.red.or.pred isInexact, {HelperBarrier}, {OutlierHelpers.Threads}, isInexact;
            @!isInexact bra {exact};
            """);
        WgmmaGemm.GatherTile(ptx, plan);
        ptx.Add($"bra {next};").Add($"{exact}:").Add($"mov.u32 item, {OutlierHelpers.LastFlag | WgmmaOutliers.HalvesFlag};");
        OutlierHelpers.Publish(ptx, "listCount", "item");
        ptx.Add($"{next}:");
        WgmmaGemm.NextOutlierBuffer(ptx, plan);
        ptx.Add($"""
            add.u32 tile, tile, tileStep;
            setp.ge.u32 atEnd, tile, tiles;
            @atEnd bra {done};
            """);
        WgmmaGemm.LocateTile(ptx, plan);
        LoadRows(ptx, plan, 0);
        ptx.Add($"bra {tiles};");
    }

    /// <summary>Looks at each stage as it fills; a column's weight of row n is a byte of the n-th 128-byte row, whose 16-byte chunks are swizzled.</summary>
    private static void PickWeights(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        int groups = plan.BlockN / Lanes;
        string stages = ptx.Label("PICK_STAGE"), wait = ptx.Label("PICK_WAIT"), next = ptx.Label("PICK_COLUMN"), picked = ptx.Label("STAGE_PICKED");
        ptx.Add($"mad.lo.u32 weightAt, helperLane, {WgmmaOutliers.HalvesBytes}, outlierBuffer;");
        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"st.shared.v4.b32 [weightAt+{i * Lanes * WgmmaOutliers.HalvesBytes}], {{zeroWord, zeroWord, zeroWord, zeroWord}};");
        }

        ptx.Add($"""
            mov.u32 kBlock, 0;
            {stages}:
            shl.b32 full, stage, 4;
            add.u32 full, full, barriers;
            {wait}:
            mbarrier.try_wait.parity.shared::cta.b64 more, [full], phase;
            @!more bra {wait};
            shr.u32 item, listColumn, 7;
            setp.eq.u32 isHit, item, kBlock;
            setp.lt.and.u32 isHit, helperLane, listCount, isHit;
            vote.sync.ballot.b32 hits, isHit, 0xFFFFFFFF;
            mad.lo.u32 stageB, stage, {plan.StageBytes}, shared;
            add.u32 stageB, stageB, {plan.BlockM * WgmmaGemmPlan.BlockK};
            mad.lo.u32 stageB, helperLane, 128, stageB;
            and.b32 swizzled, helperLane, 7;
            {next}:
            setp.eq.u32 more, hits, 0;
            @more bra {picked};
            brev.b32 slot, hits;
            bfind.shiftamt.u32 slot, slot;
            sub.u32 item, hits, 1;
            and.b32 hits, hits, item;
            shfl.sync.idx.b32 gatherColumn, listColumn, slot, 31, 0xFFFFFFFF;
            bfe.u32 chunkAt, gatherColumn, 4, 3;
            xor.b32 chunkAt, chunkAt, swizzled;
            shl.b32 chunkAt, chunkAt, 4;
            and.b32 byteAt, gatherColumn, 15;
            add.u32 byteAt, byteAt, chunkAt;
            add.u32 byteAt, byteAt, stageB;
            mad.lo.u32 weightAt, helperLane, {WgmmaOutliers.HalvesBytes}, outlierBuffer;
            mad.lo.u32 weightAt, slot, 2, weightAt;
            """);
        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"ld.shared.s8 picked{i}, [byteAt+{i * Lanes * 128}];");
        }

        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"""
                cvt.rn.f16.s32 halfBits, picked{i};
                st.shared.b16 [weightAt+{i * Lanes * WgmmaOutliers.HalvesBytes}], halfBits;
                """);
        }

        ptx.Add($"""
            bra {next};
            {picked}:
            bar.warp.sync 0xFFFFFFFF;
            @isLane0 mbarrier.arrive.shared::cta.b64 _, [full+8];
            """);
        Ring.NextStage(ptx, plan.Stages);
        ptx.Add($"""
            add.u32 kBlock, kBlock, 1;
            setp.lt.u32 more, kBlock, kBlocks;
            @more bra {stages};
            """);
    }

    /// <summary>
    /// A warp takes half of the tile's rows, a lane one of each 32, and asks for their lists. The warp that picks weights asks for none, but forgets those it had, or
    /// ptxas would keep registers for them.
    /// </summary>
    private static void LoadRows(PtxWriter ptx, WgmmaGemmPlan plan, int part)
    {
        ptx.Add($"""
            shr.u32 item, helperThread, 5;
            sub.u32 item, item, 1;
            mad.lo.u32 gatherRow, item, {plan.BlockM / 2}, helperLane;
            add.u32 row, tileRow, gatherRow;
            add.u32 row, row, {part * Lanes};
            setp.lt.u32 inRange, row, mTotal;
            not.pred keep, readsNoRows;
            and.pred inRange, inRange, keep;
            mul.wide.u32 offset, rowOutlierPitch, {OutlierRowList.PairBytes};
            mul.wide.u32 address, row, {OutlierRowList.PairBytes};
            add.u64 address, address, rowOutliers;
            """);
        for (int entry = part * Chunk; entry < (part + 1) * Chunk; entry += 2)
        {
            ptx.Add($$"""
                mov.b32 column{{entry}}, {{OutlierRowList.NoColumn}};
                mov.b32 column{{entry + 1}}, {{OutlierRowList.NoColumn}};
                mov.b32 value{{entry}}, 0;
                mov.b32 value{{entry + 1}}, 0;
                @inRange ld.global.v4.b32 {column{{entry}}, value{{entry}}, column{{entry + 1}}, value{{entry + 1}}}, [address];
                add.u64 address, address, offset;
                """);
        }
    }

    /// <summary>
    /// A list holds what its row has in any column. Each slot takes the entry of its column, or zero: a loop, since this runs once or a few times in a block, and
    /// instructions have to come from memory. Registers do not last for more than the first part's lists ahead of time.
    /// </summary>
    private static void StoreRows(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        for (int part = 1; part < Parts(plan); part++)
        {
            LoadRows(ptx, plan, part);
        }

        string next = ptx.Label("NEXT_SLOT");
        string At(int part) => $"[storeAddress+{(plan.BlockN + (part * Lanes)) * WgmmaOutliers.HalvesBytes}]";
        ptx.Add($"mad.lo.u32 storeAddress, gatherRow, {WgmmaOutliers.HalvesBytes}, outlierBuffer;");
        for (int part = 0; part < Parts(plan); part++)
        {
            ptx.Add($"st.shared.v4.b32 {At(part)}, {{zeroWord, zeroWord, zeroWord, zeroWord}};").Add(IsExact(plan) ? $"mov.f32 rowTotal{part}, 0f00000000;" : "");
        }

        ptx.Add($"""
            mov.u32 slot, 0;
            {next}:
            shfl.sync.idx.b32 gatherColumn, listColumn, slot, 31, 0xFFFFFFFF;
            """);
        for (int part = 0; part < Parts(plan); part++)
        {
            ptx.Add("mov.f32 value, 0f00000000;");
            for (int entry = part * Chunk; entry < (part + 1) * Chunk; entry++)
            {
                ptx.Add($"setp.eq.u32 keep, column{entry}, gatherColumn;").Add($"@keep mov.b32 value, value{entry};");
            }

            // bfloat16 reaches further than float16.
            ptx.Add($"""
                cvt.rn.f16.f32 halfBits, value;
                st.shared.b16 {At(part)}, halfBits;
                cvt.f32.f16 magnitude, halfBits;
                setp.neu.or.f32 isInexact, magnitude, value, isInexact;
                """);
            if (IsExact(plan))
            {
                ptx.Add("abs.f32 magnitude, value;").Add($"add.rn.f32 rowTotal{part}, rowTotal{part}, magnitude;");
            }
        }

        ptx.Add($"""
            add.u32 storeAddress, storeAddress, 2;
            add.u32 slot, slot, 1;
            setp.lt.u32 more, slot, listCount;
            @more bra {next};
            """);
        for (int part = 0; part < Parts(plan) && IsExact(plan); part++)
        {
            ptx.Add($"setp.gtu.or.f32 isInexact, rowTotal{part}, mostTotal, isInexact;");
        }
    }
}
