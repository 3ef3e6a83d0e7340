using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The large-M kernel for Hopper: persistent, warp-specialized. Warp 0 feeds a ring of shared-memory stages by TMA, warps 1..3 gather
/// outliers, warpgroups 1 and 2 multiply with wgmma and finish their results in registers, which leave through shared memory by bulk copies.
/// Tiles are walked in bands of row tiles, so that the weights of a band stay in L2. With operands of 16 bits it is the decoder's multiplication of many rows: sums are
/// results then, or are scaled per column.
/// </summary>
internal static class WgmmaGemm
{
    private const int BandRows = 16;

    /// <summary>64 rows of 128 bytes of staged results. A warpgroup's rows of the same 128 bytes lie one after the other, so that one bulk store takes them all.</summary>
    private const int BoxBytes = 64 * 128;

    /// <summary>Registers of a producer and of a consumer thread: together what the block was given. Helpers need some of the consumers'.</summary>
    private static (int Producer, int Consumer) Registers(WgmmaGemmPlan plan) =>
        !plan.Numbers.HasOutliers ? (40, 232) : plan.RowBlocks * plan.BlockN > 128 ? (96, 200) : (120, 192);

    public static string Emit(WgmmaGemmPlan plan)
    {
        PtxWriter ptx = new();
        GemmNumbers numbers = plan.Numbers;
        string[] accumulators = Enumerable.Range(0, plan.RowBlocks * plan.BlockN / 2).Select(i => $"acc{i}").ToArray();
        Header(ptx, plan);
        ptx.Registers("b32", "thread", "warpgroup", "groupThread", "warp", "lane", "laneRow", "laneColumn", "shared", "barriers", "mTotal", "nTotal", "kPadded", "kBlocks")
           .Registers("b32", "rowTiles", "columnTiles", "tiles", "band", "bandTiles", "tile", "tileStep", "tileRow", "tileColumn", "quotient", "remainder", "bandRow")
           .Registers("b32", "stage", "phase", "kBlock", "kElement", "full", "empty", "stageBase", "stageB", "preload", "item0", "releaseBarrier")
           .Registers("b32", "descriptorA", "descriptorB", "descriptorHigh", "firstRow", "firstColumn", "staging", "stagingRow", "swizzle", "chunkHigh", "storeRow", "storeColumn", "storeFrom", "namedBarrier")
           .Registers("b32", "stagingLane0", "stagingLane1", "stagingLane2", "stagingLane3", "packed0", "packed1", "packed2", "packed3")
           .Registers("b32", "outputStride", "storeDirectly", "element", "elementRow", "elementColumn", "elementAddress", "skipStages", "skipPhase", "turnPhase", "myTurn", "otherTurn")
           .Registers("b64", "mapA", "mapB", "mapC", "descA", "descB", "output", "rowSteps", "rowZeros", "columnStepsAt", "weightSumsAt", "biasAt", "pointer", "pointerRow")
           .Registers("b16", "elementHalf")
           .Registers("pred", "isProducer", "atEnd", "ready", "wraps", "again", "isLeader", "isFirst", "direct", "valid", "validRow")
           .Registers("b32", WgmmaFragments.ForLanes(plan).Select(j => $"biasOf{j}").ToArray())
           .Registers("b32", Enumerable.Range(0, WgmmaFragments.LaneSources).Select(i => $"source{i}").ToArray())
           .Registers("b32", accumulators);
        if (plan.IsInt8)
        {
            ptx.Registers("f32", PtxRegisters.Names("rowStep", plan.RowBlocks * 2))
               .Registers("b32", PtxRegisters.Names("rowZero", plan.RowBlocks * 2))
               .Registers("b32", WgmmaFragments.ForLanes(plan).SelectMany(j => new[] { $"columnStepOf{j}", $"weightSumOf{j}" }).ToArray());
        }
        else
        {
            ptx.Registers("pred", "hasSteps").Registers("b32", WgmmaFragments.ForLanes(plan).Select(j => $"columnStepOf{j}").ToArray());
        }

        Epilogue.Declare(ptx);
        Epilogue.DeclareSlots(ptx);
        if (numbers.HasOutliers)
        {
            OutlierHelpers.Declare(ptx);
            StagedOutliers.Declare(ptx, plan);
            WgmmaOutliers.Declare(ptx, plan);
        }

        Prologue(ptx, plan);
        Producer(ptx, plan);
        if (numbers.HasOutliers)
        {
            Helper(ptx, plan);
        }

        Consumer(ptx, plan, accumulators);
        ptx.Add("END:");
        return ptx.Add("""
            ret;
            }
            """).ToString();
    }

    private static void Header(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        ptx.Add($$"""
            .version 8.0
            .target sm_90a
            .address_size 64
            .extern .shared .align 1024 .b8 dynamicShared[];
            .visible .entry {{plan.Name}}(.param .align 64 .b8 paramMapA[128], .param .align 64 .b8 paramMapB[128], .param .align 64 .b8 paramMapC[128], .param .align 8 .b8 args[{{Arguments.Size}}])
            .maxntid {{WgmmaGemmPlan.Threads}}, 1, 1
            .minnctapersm 1
            """);
        ptx.Add("{");
    }

    private static void Prologue(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        // A stage is free when the warpgroups that multiply it, and the warp that picks outlier weights from it, are done.
        int releases = (plan.PingPong ? 1 : 2) + (plan.Numbers.HasOutliers ? 1 : 0);
        ptx.Argument("mTotal", nameof(GemmArguments.M), "u32")
           .Argument("nTotal", nameof(GemmArguments.N), "u32")
           .Argument("kPadded", nameof(GemmArguments.KPadded), "u32")
           .Add($"""
            mov.u32 thread, %tid.x;
            mov.u32 shared, dynamicShared;
            add.u32 shared, shared, 1023;
            and.b32 shared, shared, 0xFFFFFC00;
            add.u32 barriers, shared, {plan.BarrierOffset};
            add.u32 rowTiles, mTotal, {plan.BlockM - 1};
            div.u32 rowTiles, rowTiles, {plan.BlockM};
            add.u32 columnTiles, nTotal, {plan.BlockN - 1};
            div.u32 columnTiles, columnTiles, {plan.BlockN};
            shr.u32 kBlocks, kPadded, 7;
            mul.lo.u32 tiles, rowTiles, columnTiles;
            min.u32 band, rowTiles, {BandRows};
            mul.lo.u32 bandTiles, band, columnTiles;
            mov.b64 mapA, paramMapA;
            cvta.param.u64 mapA, mapA;
            mov.b64 mapB, paramMapB;
            cvta.param.u64 mapB, mapB;
            mov.b64 mapC, paramMapC;
            cvta.param.u64 mapC, mapC;
            mov.u32 tile, %ctaid.x;
            mov.u32 tileStep, %nctaid.x;
            """);
        ptx.Add("""
            setp.ne.u32 isLeader, thread, 0;
            @isLeader bra BARRIERS_READY;
            """);
        for (int stage = 0; stage < plan.Stages; stage++)
        {
            ptx.Add($"""
                mbarrier.init.shared::cta.b64 [barriers+{stage * 16}], 1;
                mbarrier.init.shared::cta.b64 [barriers+{(stage * 16) + 8}], {releases};
                """);
        }

        for (int buffer = 0; buffer < plan.OutlierBuffers; buffer++)
        {
            int at = OutlierBarrier(plan, buffer);
            ptx.Add($"""
                mbarrier.init.shared::cta.b64 [barriers+{at}], {OutlierHelpers.Threads};
                mbarrier.init.shared::cta.b64 [barriers+{at + 8}], {(plan.PingPong ? 128 : 256)};
                """);
        }

        if (plan.PingPong)
        {
            ptx.Add($"""
                mbarrier.init.shared::cta.b64 [barriers+{plan.TurnOffset}], 1;
                mbarrier.init.shared::cta.b64 [barriers+{plan.TurnOffset + 8}], 1;
                """);
        }

        ptx.Add($"""
            fence.mbarrier_init.release.cluster;
            BARRIERS_READY:
            bar.sync 0;
            griddepcontrol.launch_dependents;
            shr.u32 warpgroup, thread, 7;
            mov.u32 stage, 0;
            mov.u32 phase, 0;
            setp.ne.u32 isProducer, warpgroup, 0;
            @isProducer bra CONSUMER;
            setmaxnreg.dec.sync.aligned.u32 {Registers(plan).Producer};
            """);
    }

    /// <summary>tile to the coordinates of its first element.</summary>
    public static void LocateTile(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        // The last band may have fewer row tiles than the others.
        ptx.Add($"""
            div.u32 quotient, tile, bandTiles;
            mul.lo.u32 bandRow, quotient, band;
            mul.lo.u32 remainder, quotient, bandTiles;
            sub.u32 remainder, tile, remainder;
            sub.u32 item0, rowTiles, bandRow;
            min.u32 item0, item0, band;
            div.u32 tileColumn, remainder, item0;
            mul.lo.u32 tileRow, tileColumn, item0;
            sub.u32 tileRow, remainder, tileRow;
            add.u32 tileRow, tileRow, bandRow;
            mul.lo.u32 tileColumn, tileColumn, {plan.BlockN};
            """);
        ptx.Add($"mul.lo.u32 tileRow, tileRow, {plan.BlockM};");
    }

    private static void LoadB(PtxWriter ptx) =>
        ptx.Add("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [stageB], [mapB, {kElement, tileColumn}], [full];");

    /// <summary>
    /// The weights of the first stages are loaded before the kernel that quantizes the activations has finished: they don't depend on it. The thread that
    /// gives orders to TMA, here and in <see cref="Finish"/>, is an elected one: then ptxas knows that it is alone, and need not walk a warp's lanes for what
    /// such an order takes from uniform registers.
    /// </summary>
    private static void Producer(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        ptx.Add($"""
            setp.ge.u32 isProducer, thread, 32;
            @isProducer bra {(plan.Numbers.HasOutliers ? "HELPER" : "END")};
            elect.sync _|isProducer, 0xFFFFFFFF;
            @!isProducer bra END;
            setp.ge.u32 atEnd, tile, tiles;
            @atEnd bra PRODUCED;
            min.u32 preload, kBlocks, {plan.Stages};
            """);
        LocateTile(ptx, plan);
        ptx.Add($"""
            mov.u32 kBlock, 0;
            PRELOAD:
            shl.b32 full, kBlock, 4;
            add.u32 full, full, barriers;
            mad.lo.u32 stageB, kBlock, {plan.StageBytes}, shared;
            add.u32 stageB, stageB, {plan.BlockM * WgmmaGemmPlan.BlockK};
            shl.b32 kElement, kBlock, 7;
            mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], {plan.StageBytes};
            """);
        LoadB(ptx);
        ptx.Add("""
            add.u32 kBlock, kBlock, 1;
            setp.lt.u32 again, kBlock, preload;
            @again bra PRELOAD;
            prefetch.tensormap [mapA];
            griddepcontrol.wait;
            PRODUCE_TILE:
            setp.ge.u32 atEnd, tile, tiles;
            @atEnd bra PRODUCED;
            """);
        LocateTile(ptx, plan);
        ptx.Add($"""
            mov.u32 kBlock, 0;
            PRODUCE:
            shl.b32 full, stage, 4;
            add.u32 full, full, barriers;
            mad.lo.u32 stageBase, stage, {plan.StageBytes}, shared;
            add.u32 stageB, stageBase, {plan.BlockM * WgmmaGemmPlan.BlockK};
            shl.b32 kElement, kBlock, 7;
            setp.ne.u32 isFirst, preload, 0;
            @isFirst sub.u32 preload, preload, 1;
            @isFirst bra LOAD_A;
            xor.b32 item0, phase, 1;
            WAIT_STAGE_EMPTY:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [full+8], item0;
            @!ready bra WAIT_STAGE_EMPTY;
            mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], {plan.StageBytes};
            """);
        LoadB(ptx);
        ptx.Add("""
            LOAD_A:
            cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [stageBase], [mapA, {kElement, tileRow}], [full];
            """);
        Ring.NextStage(ptx, plan.Stages);
        ptx.Add("""
            add.u32 kBlock, kBlock, 1;
            setp.lt.u32 again, kBlock, kBlocks;
            @again bra PRODUCE;
            add.u32 tile, tile, tileStep;
            bra PRODUCE_TILE;
            PRODUCED:
            bra END;
            """);
    }

    private static void Helper(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        ptx.Add("HELPER:").Add("sub.u32 helperThread, thread, 32;");
        OutlierHelpers.Load(ptx);
        OutlierHelpers.LocateList(ptx, plan.ListOffset);
        ptx.Add($"""
            mov.u32 outlierPhase, 0;
            mov.u32 otherPhase, 0;
            add.u32 outlierBuffer, shared, {plan.OutlierOffset};
            add.u32 outlierBarrier, barriers, {OutlierBarrier(plan, 0)};
            griddepcontrol.wait;
            """);
        StagedOutliers.Start(ptx, plan);
        OutlierHelpers.StartList(ptx);
        InPairs(ptx);
        ptx.Add($"""
            setp.ne.u32 keep, listCount, 0;
            not.pred more, listKept;
            or.pred keep, keep, more;
            not.pred more, hasOriginals;
            and.pred keep, keep, more;
            selp.u32 tileFlags, {WgmmaOutliers.SeparateFlag}, 0, keep;
            selp.u32 tilePasses, 2, 1, keep;
            """);
        StagedOutliers.Walk(ptx, plan, "HELP_TILE", "HELPED");
        ptx.Add("""
            HELP_TILE:
            setp.ge.u32 atEnd, tile, tiles;
            @atEnd bra HELPED;
            """);
        LocateTile(ptx, plan);
        GatherTile(ptx, plan);
        NextOutlierBuffer(ptx, plan);
        ptx.Add("""
            add.u32 tile, tile, tileStep;
            bra HELP_TILE;
            HELPED:
            """);
        OutlierHelpers.ReleaseMask(ptx, warpsPerBlock: 3);
        ptx.Add("bra END;");
    }

    /// <summary>All columns of a tile from global memory, as often as the consumers go over them.</summary>
    public static void GatherTile(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        string pass = ptx.Label("GATHER_PASS");
        ptx.Add("mov.u32 passesLeft, tilePasses;").Add($"{pass}:");
        OutlierHelpers.GatherTile(ptx, plan.Numbers, plan.BlockM, plan.BlockN, "tileFlags");
        ptx.Add($"""
            sub.u32 passesLeft, passesLeft, 1;
            setp.ne.u32 more, passesLeft, 0;
            @more bra {pass};
            """);
    }

    /// <summary>
    /// A consumer thread needs the weights of two neighbouring columns in each eight. Among 16 columns, those of both eights lie side by side, so that
    /// one load of 16 bytes brings four.
    /// </summary>
    private static void InPairs(PtxWriter ptx) => ptx.Add("""
        and.b32 weightLane, helperLane, 0x11;
        bfe.u32 item, helperLane, 3, 1;
        bfi.b32 weightLane, item, weightLane, 1, 1;
        bfe.u32 item, helperLane, 1, 2;
        bfi.b32 weightLane, item, weightLane, 2, 2;
        """);

    /// <summary>The two warpgroups' buffers take turns, each with a phase of its own.</summary>
    public static void NextOutlierBuffer(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        if (!plan.PingPong)
        {
            return;
        }

        ptx.Add($"""
            mov.u32 item, outlierPhase;
            mov.u32 outlierPhase, otherPhase;
            mov.u32 otherPhase, item;
            add.u32 item, shared, {plan.OutlierOffset};
            sub.u32 outlierBuffer, outlierBuffer, item;
            sub.u32 outlierBuffer, {plan.OutlierBytes}, outlierBuffer;
            add.u32 outlierBuffer, outlierBuffer, item;
            add.u32 item, barriers, {OutlierBarrier(plan, 0)};
            sub.u32 outlierBarrier, outlierBarrier, item;
            sub.u32 outlierBarrier, 32, outlierBarrier;
            add.u32 outlierBarrier, outlierBarrier, item;
            """);
    }

    private static void Consumer(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        ptx.Add("CONSUMER:")
           .Argument("output", nameof(GemmArguments.Output), "u64")
           .Argument("activation", nameof(GemmArguments.Activation), "u32")
           .Argument("outputStride", nameof(GemmArguments.OutputStride), "u32")
           .Argument("storeDirectly", nameof(GemmArguments.StoreDirectly), "u32");
        ptx.Add($"""
            setmaxnreg.inc.sync.aligned.u32 {Registers(plan).Consumer};
            sub.u32 warpgroup, warpgroup, 1;
            and.b32 groupThread, thread, 127;
            shr.u32 warp, groupThread, 5;
            and.b32 lane, groupThread, 31;
            shr.u32 laneRow, lane, 2;
            and.b32 laneColumn, lane, 3;
            shl.b32 laneColumn, laneColumn, 1;
            add.u32 namedBarrier, warpgroup, 1;
            elect.sync _|isLeader, 0xFFFFFFFF;
            setp.eq.and.u32 isLeader, warp, 0, isLeader;
            mad.lo.u32 staging, warpgroup, {plan.StagingBytes}, {plan.StagingOffset};
            add.u32 staging, staging, shared;
            griddepcontrol.wait;
            """);
        for (int i = 0; i < WgmmaFragments.LaneSources; i++)
        {
            ptx.Add($"add.u32 source{i}, laneColumn, {(i / 2 * 8) + (i % 2)};");
        }

        if (plan.Numbers.HasOutliers)
        {
            ptx.Add($"""
                mov.u32 outlierPhase, 0;
                {(plan.PingPong ? "mov.u32 item, warpgroup;" : "mov.u32 item, 0;")}
                mad.lo.u32 outlierBuffer, item, {plan.OutlierBytes}, {plan.OutlierOffset};
                add.u32 outlierBuffer, outlierBuffer, shared;
                shl.b32 outlierBarrier, item, 5;
                add.u32 outlierBarrier, outlierBarrier, barriers;
                add.u32 outlierBarrier, outlierBarrier, {OutlierBarrier(plan, 0)};
                """);
        }

        if (plan.PingPong)
        {
            // Warpgroup 1 starts with the second tile, whose stages follow the first tile's in the ring.
            ptx.Add($"""
                rem.u32 skipStages, kBlocks, {plan.Stages};
                div.u32 skipPhase, kBlocks, {plan.Stages};
                and.b32 skipPhase, skipPhase, 1;
                shl.b32 myTurn, warpgroup, 3;
                add.u32 myTurn, myTurn, barriers;
                add.u32 myTurn, myTurn, {plan.TurnOffset};
                xor.b32 otherTurn, warpgroup, 1;
                mov.u32 turnPhase, otherTurn;
                shl.b32 otherTurn, otherTurn, 3;
                add.u32 otherTurn, otherTurn, barriers;
                add.u32 otherTurn, otherTurn, {plan.TurnOffset};
                setp.eq.u32 isFirst, warpgroup, 0;
                @isFirst bra CONSUME_TILE;
                add.u32 tile, tile, tileStep;
                """);
            SkipTile(ptx, plan);
            ptx.Add("""
                CONSUME_TILE:
                setp.ge.u32 atEnd, tile, tiles;
                @atEnd bra CONSUMED;
                """);
        }
        else
        {
            ptx.Add("""
                CONSUME_TILE:
                setp.ge.u32 atEnd, tile, tiles;
                @atEnd bra CONSUMED;
                """);
        }

        LocateTile(ptx, plan);
        LoadVectors(ptx, plan);
        Mainloop(ptx, plan, accumulators);
        Finish(ptx, plan, accumulators);
        if (plan.PingPong)
        {
            ptx.Add("add.u32 tile, tile, tileStep;");
            SkipTile(ptx, plan);
        }

        ptx.Add("""
            add.u32 tile, tile, tileStep;
            bra CONSUME_TILE;
            CONSUMED:
            @isLeader cp.async.bulk.wait_group 0;
            """);
    }

    private static void SkipTile(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        string same = ptx.Label("SAME_LAP");
        ptx.Add($"""
            add.u32 stage, stage, skipStages;
            xor.b32 phase, phase, skipPhase;
            setp.lt.u32 wraps, stage, {plan.Stages};
            @wraps bra {same};
            sub.u32 stage, stage, {plan.Stages};
            xor.b32 phase, phase, 1;
            {same}:
            """);
    }

    private static void Mainloop(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        // Descriptor: 128-byte swizzle in bits 62..63, 1024 bytes between groups of eight rows, addresses in units of 16 bytes.
        const int High = (1024 >> 4) | (1 << 30);
        int perBlock = plan.BlockN / 2;
        foreach (string accumulator in accumulators)
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }

        if (plan.PingPong)
        {
            // A stage's parity tells two laps apart, not three: a warpgroup must not look at its stages before the other has seen its own filled.
            ptx.Add("""
                WAIT_TURN:
                mbarrier.try_wait.parity.shared::cta.b64 ready, [otherTurn], turnPhase;
                @!ready bra WAIT_TURN;
                xor.b32 turnPhase, turnPhase, 1;
                """);
        }

        ptx.Add($"""
            mov.u32 descriptorHigh, {High};
            mov.u32 kBlock, 0;
            CONSUME:
            shl.b32 full, stage, 4;
            add.u32 full, full, barriers;
            WAIT_STAGE_FULL:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [full], phase;
            @!ready bra WAIT_STAGE_FULL;
            mad.lo.u32 stageBase, stage, {plan.StageBytes}, shared;
            add.u32 stageB, stageBase, {plan.BlockM * WgmmaGemmPlan.BlockK};
            {(plan.PingPong ? "" : $"mad.lo.u32 stageBase, warpgroup, {64 * WgmmaGemmPlan.BlockK}, stageBase;")}
            shr.u32 descriptorA, stageBase, 4;
            or.b32 descriptorA, descriptorA, 0x10000;
            shr.u32 descriptorB, stageB, 4;
            or.b32 descriptorB, descriptorB, 0x10000;
            wgmma.fence.sync.aligned;
            """);
        for (int k = 0; k < WgmmaGemmPlan.BlockK / 32; k++)
        {
            ptx.Add($$"""
                mov.b64 descB, {descriptorB, descriptorHigh};
                {{(k > 0 ? $"add.u64 descB, descB, {2 * k};" : "")}}
                """);
            for (int block = 0; block < plan.RowBlocks; block++)
            {
                string registers = string.Join(", ", accumulators.Skip(block * perBlock).Take(perBlock));
                int offset = (2 * k) + (block * 64 * WgmmaGemmPlan.BlockK / 16);
                ptx.Add($$"""
                    mov.b64 descA, {descriptorA, descriptorHigh};
                    {{(offset > 0 ? $"add.u64 descA, descA, {offset};" : "")}}
                    wgmma.mma_async.sync.aligned.m64n{{plan.BlockN}}{{(plan.IsInt8 ? "k32.s32.s8.s8" : "k16.f32.f16.f16")}} {{{registers}}}, descA, descB, 1{{(plan.IsInt8 ? "" : ", 1, 1, 0, 0")}};
                    """);
            }
        }

        // The stage before this one is free once its products are: release it while this one's are under way.
        ptx.Add("""
            wgmma.commit_group.sync.aligned;
            wgmma.wait_group.sync.aligned 1;
            setp.eq.u32 isFirst, kBlock, 0;
            @isFirst bra RELEASED;
            """);
        ReleaseStage(ptx);
        ptx.Add("""
            RELEASED:
            add.u32 releaseBarrier, full, 8;
            """);
        Ring.NextStage(ptx, plan.Stages);
        ptx.Add("""
            add.u32 kBlock, kBlock, 1;
            setp.lt.u32 again, kBlock, kBlocks;
            @again bra CONSUME;
            """);
        ptx.Add(plan.PingPong ? "@isLeader mbarrier.arrive.shared::cta.b64 _, [myTurn];" : "");
        ptx.Add("wgmma.wait_group.sync.aligned 0;");
        ReleaseStage(ptx);
    }

    private static void ReleaseStage(PtxWriter ptx) => ptx.Add("@isLeader mbarrier.arrive.shared::cta.b64 _, [releaseBarrier];");

    /// <summary>
    /// What the epilogue needs per row and per column is asked for before the mainloop, which hides how long it takes. A warp's lanes hold each
    /// column's values once, one of 32 neighbours each, and hand them round.
    /// </summary>
    private static void LoadVectors(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        ptx.Add($"""
            {(plan.PingPong ? "mov.u32 firstRow, tileRow;" : "mad.lo.u32 firstRow, warpgroup, 64, tileRow;")}
            mov.u32 storeRow, firstRow;
            add.u32 firstColumn, tileColumn, lane;
            """);
        if (plan.IsInt8)
        {
            LoadSteps(ptx, plan);
        }
        else
        {
            LoadColumnSteps(ptx, plan);
        }

        ptx.Argument("biasAt", nameof(GemmArguments.Bias), "u64").Add("""
            setp.ne.u64 hasBias, biasAt, 0;
            mul.wide.u32 pointer, firstColumn, 4;
            add.u64 biasAt, biasAt, pointer;
            """);
        foreach (int j in WgmmaFragments.ForLanes(plan))
        {
            // Biases of int8 weights are padded, others end with the matrix.
            ptx.Add($"mov.b32 biasOf{j}, 0;").Add(plan.IsInt8
                ? $"@hasBias ld.global.nc.b32 biasOf{j}, [biasAt+{j * 128}];"
                : $"""
                    add.u32 item0, firstColumn, {j * 32};
                    setp.lt.and.u32 valid, item0, nTotal, hasBias;
                    @valid ld.global.nc.b32 biasOf{j}, [biasAt+{j * 128}];
                    """);
        }
    }

    /// <summary>Scales and zero-points per row, scales and sums of weights per column.</summary>
    private static void LoadSteps(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        GemmNumbers numbers = plan.Numbers;
        ptx.Argument("rowSteps", nameof(GemmArguments.RowSteps), "u64").Argument("rowZeros", nameof(GemmArguments.RowZeros), "u64").Add("""
            mad.lo.u32 firstRow, warp, 16, firstRow;
            add.u32 firstRow, firstRow, laneRow;
            mul.wide.u32 pointer, firstRow, 4;
            """);
        if (numbers.ZeroPoint)
        {
            ptx.Add("add.u64 pointerRow, pointer, rowZeros;");
            WgmmaFragments.ForRows(plan, (row, offset) => ptx.Add($"ld.global.s32 rowZero{row}, [pointerRow+{offset * 4}];"));
        }

        ptx.Add("add.u64 pointer, pointer, rowSteps;");
        WgmmaFragments.ForRows(plan, (row, offset) => ptx.Add($"ld.global.f32 rowStep{row}, [pointer+{offset * 4}];"));
        ptx.Argument("columnStepsAt", nameof(GemmArguments.ColumnSteps), "u64")
           .Argument("weightSumsAt", nameof(GemmArguments.WeightSums), "u64")
           .Add("""
            mul.wide.u32 pointer, firstColumn, 4;
            add.u64 columnStepsAt, columnStepsAt, pointer;
            add.u64 weightSumsAt, weightSumsAt, pointer;
            """);
        foreach (int j in WgmmaFragments.ForLanes(plan))
        {
            ptx.Add($"ld.global.nc.b32 columnStepOf{j}, [columnStepsAt+{j * 128}];");
            if (numbers.ZeroPoint)
            {
                ptx.Add($"ld.global.nc.b32 weightSumOf{j}, [weightSumsAt+{j * 128}];");
            }
        }
    }

    /// <summary>The scales per column of 16-bit weights that stand for int8 ones.</summary>
    private static void LoadColumnSteps(PtxWriter ptx, WgmmaGemmPlan plan)
    {
        ptx.Argument("columnStepsAt", nameof(GemmArguments.ColumnSteps), "u64").Add("""
            setp.ne.u64 hasSteps, columnStepsAt, 0;
            mul.wide.u32 pointer, firstColumn, 4;
            add.u64 columnStepsAt, columnStepsAt, pointer;
            """);
        foreach (int j in WgmmaFragments.ForLanes(plan))
        {
            ptx.Add($"@hasSteps ld.global.nc.b32 columnStepOf{j}, [columnStepsAt+{j * 128}];");
        }
    }

    /// <summary>Sums of a thread to results without outliers.</summary>
    public static void Scale(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        for (int group = 0; group < plan.BlockN / 8; group++)
        {
            ScaleGroup(ptx, plan, accumulators, group);
        }
    }

    /// <summary>Those of eight columns, whose steps are in <c>columnStep0</c> and <c>columnStep1</c> then.</summary>
    public static void ScaleGroup(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators, int group)
    {
        WgmmaFragments.FromLanes(ptx, "columnStep", group);
        if (plan.Numbers.ZeroPoint)
        {
            WgmmaFragments.FromLanes(ptx, "weightSum", group);
        }

        WgmmaFragments.ForFragment(plan, group, (index, row, column) => Epilogue.Scale(ptx, plan.Numbers, accumulators[index], $"rowStep{row}", $"rowZero{row}", $"columnStep{column}", $"weightSum{column}"));
    }

    /// <summary>Results by 16-bit weights that stand for int8 ones.</summary>
    private static void ScaleColumns(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        ptx.Add("@!hasSteps bra NO_STEPS;");
        for (int group = 0; group < plan.BlockN / 8; group++)
        {
            WgmmaFragments.FromLanes(ptx, "columnStep", group);
            WgmmaFragments.ForFragment(plan, group, (index, _, column) => ptx.Add($"mul.rn.f32 {accumulators[index]}, {accumulators[index]}, columnStep{column};"));
        }

        ptx.Add("NO_STEPS:");
    }

    private static void Finish(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        GemmNumbers numbers = plan.Numbers;
        int perBlock = plan.BlockN / 2, groups = plan.BlockN / 8;
        if (numbers.HasOutliers)
        {
            WgmmaOutliers.ScaleAndAdd(ptx, plan, accumulators);
        }
        else if (plan.IsInt8)
        {
            Scale(ptx, plan, accumulators);
        }
        else
        {
            ScaleColumns(ptx, plan, accumulators);
        }

        ptx.Add("@!hasBias bra NO_BIAS;");
        for (int group = 0; group < groups; group++)
        {
            WgmmaFragments.FromLanes(ptx, "bias", group);
            WgmmaFragments.ForFragment(plan, group, (index, _, column) => ptx.Add($"add.rn.f32 {accumulators[index]}, {accumulators[index]}, bias{column};"));
        }

        // The staging buffer is written again only when the last tile's bulk store has read it.
        ptx.Add("""
            NO_BIAS:
            @isLeader cp.async.bulk.wait_group.read 0;
            bar.sync namedBarrier, 128;
            mad.lo.u32 elementAddress, groupThread, 16, staging;
            """);
        Epilogue.ActivateAll(ptx, accumulators, "elementAddress", 128 * 16, plan.StagingBytes / (128 * 16));

        // Scratch slots, which only curves use, and staged results share the buffer.
        ptx.Add($"""
            setp.ge.u32 isCurve, activation, {(int)Activation.Gelu};
            @isCurve bar.sync namedBarrier, 128;
            """);
        int passes = numbers.OutputBytes / 2;
        int groupsPerPass = groups / passes, boxColumns = 128 / numbers.OutputBytes, boxes = plan.BlockN / passes / boxColumns;
        ptx.Add("setp.ne.u32 direct, storeDirectly, 0;");
        for (int pass = 0; pass < passes; pass++)
        {
            if (pass > 0)
            {
                ptx.Add("""
                    @isLeader cp.async.bulk.wait_group.read 0;
                    bar.sync namedBarrier, 128;
                    """);
            }

            for (int block = 0; block < plan.RowBlocks; block++)
            {
                int boxBase = block * BoxBytes;
                if (numbers.OutputBytes == 2)
                {
                    StageHalves(ptx, plan, accumulators.Skip(block * perBlock).Take(perBlock).ToArray(), boxBase);
                }
                else
                {
                    StageFloats(ptx, plan, accumulators.Skip((block * perBlock) + (pass * groupsPerPass * 4)).Take(groupsPerPass * 4).ToArray(), boxBase);
                }
            }

            string stored = ptx.Label("STORED"), bulk = ptx.Label("BULK_STORE");
            ptx.Add($"""
                fence.proxy.async.shared::cta;
                bar.sync namedBarrier, 128;
                @!direct bra {bulk};
                """);
            StoreElements(ptx, plan, pass * plan.BlockN / passes, plan.BlockN / passes, boxColumns);
            ptx.Add($"""
                bar.sync namedBarrier, 128;
                bra {stored};
                {bulk}:
                """);
            ptx.Add($"""
                setp.ne.u32 again, warp, 0;
                @again bra {stored};
                elect.sync _|again, 0xFFFFFFFF;
                """);
            for (int box = 0; box < boxes; box++)
            {
                ptx.Add($$"""
                    add.u32 storeFrom, staging, {{box * plan.RowBlocks * BoxBytes}};
                    add.u32 storeColumn, tileColumn, {{(pass * plan.BlockN / passes) + (box * boxColumns)}};
                    @again cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [mapC, {storeColumn, storeRow}], [storeFrom];
                    """);
            }

            // wgmma needs whole warps: the leader's come together again.
            ptx.Add($"""
                @again cp.async.bulk.commit_group;
                {stored}:
                bar.warp.sync 0xFFFFFFFF;
                """);
        }
    }

    /// <summary>Rounds pairs to 16 bits and stores 8 x 8 matrices, with the 128-byte swizzle that the bulk store expects.</summary>
    private static void StageHalves(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators, int boxBase)
    {
        string type = plan.Numbers.Output == ElementFormat.BFloat16 ? "bf16x2" : "f16x2";
        ptx.Add("""
            and.b32 swizzle, lane, 7;
            and.b32 stagingRow, lane, 15;
            mad.lo.u32 stagingRow, warp, 16, stagingRow;
            shl.b32 stagingRow, stagingRow, 7;
            add.u32 stagingRow, stagingRow, staging;
            shr.u32 chunkHigh, lane, 4;
            """);
        for (int quarter = 0; quarter < 4; quarter++)
        {
            ptx.Add($"""
                add.u32 item0, chunkHigh, {2 * quarter};
                xor.b32 item0, item0, swizzle;
                shl.b32 item0, item0, 4;
                add.u32 stagingLane{quarter}, stagingRow, item0;
                """);
        }

        for (int pair = 0; pair < accumulators.Length / 8; pair++)
        {
            for (int i = 0; i < 4; i++)
            {
                ptx.Add($"cvt.rn.{type}.f32 packed{i}, {accumulators[(pair * 8) + (2 * i) + 1]}, {accumulators[(pair * 8) + (2 * i)]};");
            }

            ptx.Add($"stmatrix.sync.aligned.m8n8.x4.shared.b16 [stagingLane{pair % 4}+{boxBase + (pair / 4 * plan.RowBlocks * BoxBytes)}], {{packed0, packed1, packed2, packed3}};");
        }
    }

    private static void StageFloats(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators, int boxBase)
    {
        ptx.Add("""
            mad.lo.u32 stagingRow, warp, 16, laneRow;
            shl.b32 stagingRow, stagingRow, 7;
            add.u32 stagingRow, stagingRow, staging;
            and.b32 chunkHigh, laneColumn, 3;
            shl.b32 chunkHigh, chunkHigh, 2;
            add.u32 stagingRow, stagingRow, chunkHigh;
            shr.u32 chunkHigh, laneColumn, 2;
            """);
        for (int group = 0; group < accumulators.Length / 4; group++)
        {
            int box = boxBase + (group / 4 * plan.RowBlocks * BoxBytes);
            ptx.Add($$"""
                add.u32 item0, chunkHigh, {{group % 4 * 2}};
                xor.b32 item0, item0, laneRow;
                shl.b32 item0, item0, 4;
                add.u32 item0, item0, stagingRow;
                st.shared.v2.b32 [item0+{{box}}], {{{accumulators[group * 4]}}, {{accumulators[(group * 4) + 1]}}};
                st.shared.v2.b32 [item0+{{box + 1024}}], {{{accumulators[(group * 4) + 2]}}, {{accumulators[(group * 4) + 3]}}};
                """);
        }
    }

    /// <summary>Element by element, for rows that a bulk copy cannot address: each of the warpgroup's threads takes every 128th.</summary>
    private static void StoreElements(PtxWriter ptx, WgmmaGemmPlan plan, int columnBase, int columns, int boxColumns)
    {
        int bytes = plan.Numbers.OutputBytes, rows = 64 * plan.RowBlocks;
        string loop = ptx.Label("STORE_ELEMENT"), done = ptx.Label("ELEMENTS_STORED"), type = bytes == 2 ? "b16" : "b32", register = bytes == 2 ? "elementHalf" : "packed0";
        ptx.Add($"""
            mov.u32 element, groupThread;
            {loop}:
            div.u32 elementRow, element, {columns};
            rem.u32 elementColumn, element, {columns};
            div.u32 quotient, elementColumn, {boxColumns};
            mul.lo.u32 elementAddress, quotient, {plan.RowBlocks * BoxBytes};
            mad.lo.u32 elementAddress, elementRow, 128, elementAddress;
            rem.u32 quotient, elementColumn, {boxColumns};
            shl.b32 quotient, quotient, {(bytes == 2 ? 1 : 2)};
            and.b32 remainder, elementRow, 7;
            shl.b32 remainder, remainder, 4;
            xor.b32 quotient, quotient, remainder;
            add.u32 elementAddress, elementAddress, quotient;
            add.u32 elementAddress, elementAddress, staging;
            add.u32 elementRow, elementRow, storeRow;
            add.u32 elementColumn, elementColumn, tileColumn;
            add.u32 elementColumn, elementColumn, {columnBase};
            setp.lt.u32 validRow, elementRow, mTotal;
            setp.lt.u32 valid, elementColumn, nTotal;
            and.pred valid, valid, validRow;
            mul.wide.u32 pointer, elementRow, outputStride;
            cvt.u64.u32 pointerRow, elementColumn;
            add.u64 pointer, pointer, pointerRow;
            shl.b64 pointer, pointer, {(bytes == 2 ? 1 : 2)};
            add.u64 pointer, pointer, output;
            ld.shared.{type} {register}, [elementAddress];
            @valid st.global.{type} [pointer], {register};
            add.u32 element, element, 128;
            setp.lt.u32 again, element, {rows * columns};
            @again bra {loop};
            {done}:
            """);
    }

    private static int OutlierBarrier(WgmmaGemmPlan plan, int buffer) => (plan.Stages * 16) + (buffer * 32);
}
