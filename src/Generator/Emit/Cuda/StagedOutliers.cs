using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The usual case of <see cref="OutlierHelpers"/> in the wgmma kernels: at most eight outlier columns, whose weights are the int8 ones. Those pass
/// through the ring of stages anyway, so the first helper warp picks them out there; the other two warps read what the quantization has listed of each
/// row (<see cref="OutlierRowList"/>). Both hide behind the mainloop of the tile they belong to.
/// </summary>
internal static class StagedOutliers
{
    private const int Lanes = OutlierHelpers.Lanes, Chunk = GemmNumbers.OutlierChunk;

    public static void Declare(PtxWriter ptx, WgmmaGemmPlan plan) => ptx
        .Registers("b32", Enumerable.Range(0, Chunk).SelectMany(entry => new[] { $"column{entry}", $"value{entry}" }).ToArray())
        .Registers("b32", Enumerable.Range(0, plan.BlockN / Lanes).Select(i => $"picked{i}").ToArray())
        .Registers("b32", "gatherRow", "gatherEnd", "hits", "byteAt", "chunkAt", "swizzled", "weightAt", "rowOutlierPitch")
        .Registers("b64", "rowOutliers")
        .Registers("pred", "isHit", "picksWeights");

    /// <summary>
    /// Walks every tile of the block, or goes to <paramref name="otherwise"/> where there are no outliers, more than a buffer takes, 16-bit originals or no lists:
    /// then the stages are not looked at, and their barriers expect this warp no longer.
    /// </summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="plan">The tile.</param>
    /// <param name="otherwise">The label of the general case.</param>
    /// <param name="done">The label behind the last tile.</param>
    /// <param name="locateTile">Finds the coordinates of <c>tile</c>.</param>
    /// <param name="nextStage">Moves <c>stage</c> and <c>phase</c>.</param>
    /// <param name="nextBuffer">Moves to the next tile's outlier buffer.</param>
    public static void Walk(PtxWriter ptx, WgmmaGemmPlan plan, string otherwise, string done, System.Action locateTile, System.Action nextStage, System.Action nextBuffer)
    {
        string staged = ptx.Label("STAGED"), tiles = ptx.Label("STAGED_TILE"), rows = ptx.Label("GATHER_ROWS"), gathered = ptx.Label("TILE_GATHERED");
        ptx.Argument("rowOutliers", nameof(GemmArguments.RowOutliers), "u64")
           .Argument("rowOutlierPitch", nameof(GemmArguments.RowOutlierPitch), "u32")
           .Add($"""
            setp.lt.u32 picksWeights, helperThread, {Lanes};
            setp.ne.u32 isMine, listCount, 0;
            setp.le.and.u32 isMine, listCount, {Chunk}, isMine;
            and.pred isMine, isMine, listKept;
            setp.ne.and.u64 isMine, rowOutliers, 0, isMine;
            not.pred more, hasOriginals;
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
            {tiles}:
            setp.ge.u32 atEnd, tile, tiles;
            @atEnd bra {done};
            """);
        locateTile();
        OutlierHelpers.AwaitEmpty(ptx);
        ptx.Add($"@!picksWeights bra {rows};");
        PickWeights(ptx, plan, nextStage);
        ptx.Add($"bra {gathered};").Add($"{rows}:");
        GatherRows(ptx, plan);
        ptx.Add($"{gathered}:").Add("mov.u32 item, 1;");
        OutlierHelpers.Publish(ptx, "listCount", "item");
        nextBuffer();
        ptx.Add($"""
            add.u32 tile, tile, tileStep;
            bra {tiles};
            """);
    }

    /// <summary>Looks at each stage as it fills; a column's weight of row n is a byte of the n-th 128-byte row, whose 16-byte chunks are swizzled.</summary>
    private static void PickWeights(PtxWriter ptx, WgmmaGemmPlan plan, System.Action nextStage)
    {
        int groups = plan.BlockN / Lanes;
        string stages = ptx.Label("PICK_STAGE"), wait = ptx.Label("PICK_WAIT"), next = ptx.Label("PICK_COLUMN"), picked = ptx.Label("STAGE_PICKED");
        ptx.Add("""
            add.u32 row, tileColumn, helperLane;
            mul.wide.u32 address, row, 4;
            add.u64 address, address, columnSteps;
            """);
        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"ld.global.nc.f32 scale{i}, [address+{i * Lanes * 4}];");
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
            mad.lo.u32 weightAt, slot, {plan.BlockN}, weightLane;
            shl.b32 weightAt, weightAt, 2;
            add.u32 weightAt, weightAt, outlierBuffer;
            """);
        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"ld.shared.s8 picked{i}, [byteAt+{i * Lanes * 128}];");
        }

        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"""
                cvt.rn.f32.s32 value, picked{i};
                mul.rn.f32 value, value, scale{i};
                st.shared.f32 [weightAt+{i * Lanes * 4}], value;
                """);
        }

        ptx.Add($"""
            bra {next};
            {picked}:
            bar.warp.sync 0xFFFFFFFF;
            @isLane0 mbarrier.arrive.shared::cta.b64 _, [full+8];
            """);
        nextStage();
        ptx.Add($"""
            add.u32 kBlock, kBlock, 1;
            setp.lt.u32 more, kBlock, kBlocks;
            @more bra {stages};
            """);
    }

    /// <summary>
    /// A warp takes half of the tile's rows, a lane one of each 32: its list holds what there is in any column. Each slot takes the entry of its
    /// column, or zero.
    /// </summary>
    private static void GatherRows(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        string half = ptx.Label("GATHER_32_ROWS");
        ptx.Add($"""
            shr.u32 item, helperThread, 5;
            sub.u32 item, item, 1;
            mad.lo.u32 gatherRow, item, {plan.BlockM / 2}, helperLane;
            mad.lo.u32 gatherEnd, item, {plan.BlockM / 2}, {plan.BlockM / 2};
            mul.wide.u32 offset, rowOutlierPitch, {OutlierRowList.PairBytes};
            {half}:
            add.u32 row, tileRow, gatherRow;
            mul.wide.u32 address, row, {OutlierRowList.PairBytes};
            add.u64 address, address, rowOutliers;
            setp.lt.u32 inRange, row, mTotal;
            """);
        for (int entry = 0; entry < Chunk; entry += 2)
        {
            ptx.Add($$"""
                setp.gt.and.u32 keep, listCount, {{entry}}, inRange;
                mov.b32 column{{entry}}, {{OutlierRowList.NoColumn}};
                mov.b32 column{{entry + 1}}, {{OutlierRowList.NoColumn}};
                @keep ld.global.v4.b32 {column{{entry}}, value{{entry}}, column{{entry + 1}}, value{{entry + 1}}}, [address];
                add.u64 address, address, offset;
                """);
        }

        ptx.Add("mad.lo.u32 storeAddress, gatherRow, 4, outlierBuffer;");
        for (int slot = 0; slot < Chunk; slot++)
        {
            string skip = ptx.Label("NO_SLOT");
            ptx.Add($"""
                setp.le.u32 more, listCount, {slot};
                @more bra {skip};
                shfl.sync.idx.b32 gatherColumn, listColumn, {slot}, 31, 0xFFFFFFFF;
                mov.f32 value, 0f00000000;
                """);
            for (int entry = 0; entry < Chunk; entry++)
            {
                ptx.Add($"setp.eq.u32 keep, column{entry}, gatherColumn;").Add($"@keep mov.b32 value, value{entry};");
            }

            ptx.Add($"st.shared.f32 [storeAddress+{((Chunk * plan.BlockN) + (slot * plan.BlockM)) * 4}], value;").Add($"{skip}:");
        }

        ptx.Add($"""
            add.u32 gatherRow, gatherRow, {Lanes};
            setp.lt.u32 more, gatherRow, gatherEnd;
            @more bra {half};
            """);
    }
}
