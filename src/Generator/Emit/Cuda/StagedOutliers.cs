using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The usual case of <see cref="OutlierHelpers"/> in the wgmma kernels: at most eight outlier columns, whose weights are the int8 ones. Those pass
/// through the ring of stages anyway, so the first helper warp picks them out there, and only the activations' columns, which the other two warps
/// ask for all at once, take a way of their own to L2. Both hide behind the mainloop of the tile they belong to.
/// </summary>
internal static class StagedOutliers
{
    private const int Lanes = OutlierHelpers.Lanes, Chunk = GemmNumbers.OutlierChunk;

    /// <summary>Blocks of 32 rows that a warp gathers.</summary>
    private static int RowGroups(WgmmaGemmPlan plan) => plan.BlockM / Lanes / 2;

    public static void Declare(PtxWriter ptx, WgmmaGemmPlan plan) => ptx
        .Registers("b32", Enumerable.Range(0, Chunk * RowGroups(plan)).Select(i => $"loaded{i}").ToArray())
        .Registers("b32", Enumerable.Range(0, RowGroups(plan)).Select(i => $"gatherRow{i}").ToArray())
        .Registers("b64", Enumerable.Range(0, RowGroups(plan)).Select(i => $"rowAt{i}").ToArray())
        .Registers("pred", Enumerable.Range(0, RowGroups(plan)).Select(i => $"hasRow{i}").ToArray())
        .Registers("b32", "hits", "byteAt", "chunkAt", "swizzled", "weightAt")
        .Registers("pred", "isHit", "picksWeights", "has16", "has32");

    /// <summary>
    /// Walks every tile of the block, or goes to <paramref name="otherwise"/> where there are no outliers, more than a buffer takes, or 16-bit originals:
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
        ptx.Add($"""
            setp.lt.u32 picksWeights, helperThread, {Lanes};
            setp.ne.u32 isMine, listCount, 0;
            setp.le.and.u32 isMine, listCount, {Chunk}, isMine;
            and.pred isMine, isMine, listKept;
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
            ptx.Add($"ld.shared.s8 loaded{i}, [byteAt+{i * Lanes * 128}];");
        }

        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"""
                cvt.rn.f32.s32 value, loaded{i};
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

    /// <summary>A warp takes half of the tile's rows, a lane one of each 32, in every column: all loads are under way before the first is used.</summary>
    private static void GatherRows(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        int groups = RowGroups(plan);
        ptx.Add($"""
            shr.u32 item, helperThread, 5;
            sub.u32 item, item, 1;
            mad.lo.u32 gatherRow0, item, {plan.BlockM / 2}, helperLane;
            """);
        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"""
                {(i == 0 ? "" : $"add.u32 gatherRow{i}, gatherRow0, {i * Lanes};")}
                add.u32 row, tileRow, gatherRow{i};
                setp.lt.u32 hasRow{i}, row, mTotal;
                mul.wide.u32 rowAt{i}, row, activationStride;
                shl.b64 rowAt{i}, rowAt{i}, inputShift;
                add.u64 rowAt{i}, rowAt{i}, activations;
                """);
        }

        for (int slot = 0; slot < Chunk; slot++)
        {
            ptx.Add($"""
                shfl.sync.idx.b32 gatherColumn, listColumn, {slot}, 31, 0xFFFFFFFF;
                setp.gt.u32 isHit, listCount, {slot};
                cvt.u64.u32 offset, gatherColumn;
                shl.b64 offset, offset, inputShift;
                """);
            for (int i = 0; i < groups; i++)
            {
                string loaded = $"loaded{(slot * groups) + i}";
                ptx.Add($"""
                    mov.b32 {loaded}, 0;
                    and.pred keep, isHit, hasRow{i};
                    and.pred has32, keep, inputIsF32;
                    not.pred has16, inputIsF32;
                    and.pred has16, has16, keep;
                    add.u64 address, rowAt{i}, offset;
                    @has32 ld.global.b32 {loaded}, [address];
                    @has16 ld.global.u16 {loaded}, [address];
                    """);
            }
        }

        for (int slot = 0; slot < Chunk; slot++)
        {
            string skip = ptx.Label("NO_SLOT");
            ptx.Add($"""
                setp.le.u32 more, listCount, {slot};
                @more bra {skip};
                """);
            for (int i = 0; i < groups; i++)
            {
                string loaded = $"loaded{(slot * groups) + i}";
                ptx.Add($"""
                    mov.b32 value, {loaded};
                    cvt.u16.u32 halfBits, {loaded};
                    @inputIsF16 cvt.f32.f16 value, halfBits;
                    shl.b32 item, {loaded}, 16;
                    @inputIsBf16 mov.b32 value, item;
                    """);
                if (plan.Numbers.Outliers == OutlierPolicy.Elements)
                {
                    ptx.Add("""
                        abs.f32 magnitude, value;
                        setp.ge.f32 keep, magnitude, threshold;
                        @!keep mov.f32 value, 0f00000000;
                        """);
                }

                ptx.Add($"""
                    mad.lo.u32 storeAddress, gatherRow{i}, 4, outlierBuffer;
                    st.shared.f32 [storeAddress+{((Chunk * plan.BlockN) + (slot * plan.BlockM)) * 4}], value;
                    """);
            }

            ptx.Add($"{skip}:");
        }
    }
}
