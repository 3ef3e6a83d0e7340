using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// Few rows: the time is that of reading the weights once. A block takes one tile or several, one after the other without a break of the stream; where the launch
/// gives every tile a cluster, its blocks share the tile's K, and the first one gets the others' sums in its shared memory. Where there are more blocks than tiles
/// otherwise, every block takes an equal, contiguous run of K blocks over all tiles. A tile that two of them share is summed with integer atomics, whose order cannot
/// show in the result; the block that adds the last K block finishes the tile and leaves the workspace zeroed.
/// </summary>
internal static class StreamGemm
{
    public static string Emit(StreamGemmPlan plan)
    {
        PtxWriter ptx = new();
        GemmNumbers numbers = plan.Numbers;
        string[] accumulators = Enumerable.Range(0, plan.Tokens / 2).Select(i => $"acc{i}").ToArray();
        ptx.Add($$"""
            .version 8.1
            .target sm_90a
            .address_size 64
            .extern .shared .align 1024 .b8 dynamicShared[];
            .visible .entry {{plan.Name}}(.param .align 64 .b8 paramMapA[128], .param .align 64 .b8 paramMapB[128], .param .align 64 .b8 paramMapC[128], .param .align 8 .b8 args[{{Arguments.Size}}])
            .maxntid {{StreamGemmPlan.Threads}}, 1, 1
            .minnctapersm 1
            {
            """);
        ptx.Registers("b32", "thread", "warpgroup", "groupThread", "warp", "lane", "laneRow", "laneColumn", "shared", "barriers", "mTotal", "nTotal", "kPadded", "kBlocks")
           .Registers("b32", "units", "unit", "unitEnd", "unitBlocks", "block", "blocks", "tile", "tileRow", "tileColumn", "segmentEnd", "segmentUnits", "segmentLeft", "kElement", "activationElement", "unitsLeft", "preload", "preloaded")
           .Registers("b32", "ranks", "rank", "ranksBarrier", "remote", "stage", "phase", "full", "stageBase", "stageB", "emptyPhase", "releaseBarrier", "descriptorA", "descriptorB", "descriptorHigh")
           .Registers("b32", "feature", "featureLocal", "token", "outputStride", "drawn", "scratchSlot", "outlierWeights", "outlierRows", "columnsLeft", "lastChunk", "total")
           .Registers("b64", "mapWeights", "mapActivations", "descA", "descB", "output", "rowSteps", "rowZeros", "columnStepsAt", "weightSumsAt", "biasAt", "pointer", "pointerRow", "partials", "tickets")
           .Registers("b16", "packedHalf")
           .Registers("pred", "isProducer", "atEnd", "ready", "wraps", "again", "isLeader", "isFirst", "isFinal", "isAlone", "wholeTiles", "validFeature0", "validFeature1", "valid")
           .Registers("f32", Enumerable.Range(0, plan.Tokens / 4).Select(i => $"tokenStep{i}").ToArray())
           .Registers("b32", Enumerable.Range(0, plan.Tokens / 4).Select(i => $"tokenZero{i}").ToArray())
           .Registers("f32", "tokenOutlier0", "tokenOutlier1")
           .Registers("b32", "taken0", "taken1", "taken2", "taken3")
           .Registers("b32", accumulators);
        Epilogue.Declare(ptx);
        Epilogue.DeclareSlots(ptx);
        if (numbers.HasOutliers)
        {
            OutlierHelpers.Declare(ptx);
            ptx.Registers("f32", Sums(plan));
        }

        Prologue(ptx, plan);
        Producer(ptx, plan);
        if (numbers.HasOutliers)
        {
            Helper(ptx, plan);
        }

        Consumer(ptx, plan, accumulators);
        return ptx.Add("""
            END:
            ret;
            }
            """).ToString();
    }

    /// <summary>What is summed of outliers beside each accumulator.</summary>
    private static string[] Sums(StreamGemmPlan plan) => PtxRegisters.Names("sum", plan.Tokens / 2);

    private static int OutlierBarrier(StreamGemmPlan plan) => plan.Stages * 16;

    /// <summary>Counts the bytes of sums that the cluster's other blocks leave here.</summary>
    private static int RanksBarrier(StreamGemmPlan plan) => OutlierBarrier(plan) + 40;

    /// <summary>
    /// unit to unitEnd are this block's K blocks. All in 32 bits: with more blocks than there is room for, what precedes the first load is paid several times, and a 64-bit division is
    /// a long routine.
    /// </summary>
    private static void Prologue(PtxWriter ptx, StreamGemmPlan plan)
    {
        ptx.Argument("mTotal", nameof(GemmArguments.M), "u32")
           .Argument("nTotal", nameof(GemmArguments.N), "u32")
           .Argument("kPadded", nameof(GemmArguments.KPadded), "u32")
           .Add($"""
            mov.u32 thread, %tid.x;
            mov.u32 shared, dynamicShared;
            add.u32 shared, shared, 1023;
            and.b32 shared, shared, 0xFFFFFC00;
            add.u32 barriers, shared, {plan.BarrierOffset};
            shr.u32 kBlocks, kPadded, 7;
            add.u32 units, nTotal, {StreamGemmPlan.BlockN - 1};
            shr.u32 units, units, 6;
            mov.u32 block, %ctaid.x;
            mov.u32 blocks, %nctaid.x;
            mov.u32 ranks, %cluster_nctarank;
            mov.u32 rank, %cluster_ctarank;
            setp.eq.u32 isAlone, ranks, 1;
            @isAlone bra EQUAL_SHARES;
            mov.u32 tile, %clusterid.x;
            mul.lo.u32 tile, tile, kBlocks;
            mul.lo.u32 unit, kBlocks, rank;
            add.u32 unitEnd, unit, kBlocks;
            div.u32 unit, unit, ranks;
            div.u32 unitEnd, unitEnd, ranks;
            add.u32 unit, unit, tile;
            add.u32 unitEnd, unitEnd, tile;
            bra SHARES_KNOWN;
            EQUAL_SHARES:
            setp.ge.u32 wholeTiles, units, blocks;
            selp.u32 unitBlocks, kBlocks, 1, wholeTiles;
            @!wholeTiles mul.lo.u32 units, units, kBlocks;
            div.u32 unitEnd, units, blocks;
            mul.lo.u32 total, unitEnd, blocks;
            sub.u32 total, units, total;
            min.u32 unit, block, total;
            mad.lo.u32 unit, unitEnd, block, unit;
            setp.lt.u32 again, block, total;
            add.u32 unitEnd, unitEnd, unit;
            @again add.u32 unitEnd, unitEnd, 1;
            mul.lo.u32 unit, unit, unitBlocks;
            mul.lo.u32 unitEnd, unitEnd, unitBlocks;
            SHARES_KNOWN:
            mov.b64 mapActivations, paramMapA;
            cvta.param.u64 mapActivations, mapActivations;
            mov.b64 mapWeights, paramMapB;
            cvta.param.u64 mapWeights, mapWeights;
            setp.ne.u32 isLeader, thread, 0;
            @isLeader bra BARRIERS_READY;
            """);
        for (int stage = 0; stage < plan.Stages; stage++)
        {
            ptx.Add($"""
                mbarrier.init.shared::cta.b64 [barriers+{stage * 16}], 1;
                mbarrier.init.shared::cta.b64 [barriers+{(stage * 16) + 8}], 1;
                """);
        }

        ptx.Add($"""
            mbarrier.init.shared::cta.b64 [barriers+{OutlierBarrier(plan)}], {OutlierHelpers.Threads};
            mbarrier.init.shared::cta.b64 [barriers+{OutlierBarrier(plan) + 8}], 128;
            mbarrier.init.shared::cta.b64 [barriers+{RanksBarrier(plan)}], 1;
            fence.mbarrier_init.release.cluster;
            BARRIERS_READY:
            bar.sync 0;
            @!isAlone barrier.cluster.arrive.relaxed;
            griddepcontrol.launch_dependents;
            shr.u32 warpgroup, thread, 7;
            mov.u32 stage, 0;
            mov.u32 phase, 0;
            setp.ne.u32 isProducer, warpgroup, 0;
            @isProducer bra CONSUMER;
            """);
    }

    /// <summary>unit to tile and K block, and the run of units that this block has in the tile.</summary>
    private static void LocateSegment(PtxWriter ptx) => ptx.Add("""
        div.u32 tile, unit, kBlocks;
        mad.lo.u32 segmentEnd, tile, kBlocks, kBlocks;
        min.u32 segmentEnd, segmentEnd, unitEnd;
        sub.u32 segmentUnits, segmentEnd, unit;
        shl.b32 tileColumn, tile, 6;
        """);

    /// <summary>
    /// One thread orders all loads. It fills the ring with weights before it waits for the kernel ahead, whose result the activations are.
    /// </summary>
    private static void Producer(PtxWriter ptx, StreamGemmPlan plan)
    {
        ptx.Add($$"""
            setp.ge.u32 isProducer, thread, 32;
            @isProducer bra {{(plan.Numbers.HasOutliers ? "HELPER" : "END")}};
            elect.sync _|isProducer, 0xFFFFFFFF;
            @!isProducer bra END;
            div.u32 tile, unit, kBlocks;
            mul.lo.u32 kElement, tile, kBlocks;
            sub.u32 kElement, unit, kElement;
            shl.b32 kElement, kElement, 7;
            shl.b32 tileColumn, tile, 6;
            mov.u32 tileRow, 0;
            mov.u32 activationElement, kElement;
            sub.u32 unitsLeft, unitEnd, unit;
            min.u32 preload, unitsLeft, {{plan.Stages}};
            sub.u32 unitsLeft, unitsLeft, preload;
            mov.u32 preloaded, 0;
            """);
        StartRing(ptx);
        ptx.Add("""
            PRELOAD:
            setp.ge.u32 atEnd, preloaded, preload;
            @atEnd bra PRELOADED;
            """);
        OrderWeights(ptx, plan);
        ptx.Add("add.u32 preloaded, preloaded, 1;");
        NextSlot(ptx, plan);
        ptx.Add("""
            bra PRELOAD;
            PRELOADED:
            prefetch.tensormap [mapActivations];
            griddepcontrol.wait;
            """);
        StartRing(ptx);
        ptx.Add("""
            FOLLOW:
            setp.eq.u32 atEnd, preload, 0;
            @atEnd bra FOLLOWED;
            """);
        OrderActivations(ptx);
        ptx.Add("sub.u32 preload, preload, 1;");
        NextSlot(ptx, plan);
        ptx.Add("""
            bra FOLLOW;
            FOLLOWED:
            mov.u32 emptyPhase, 0;
            LAP:
            """);
        StartRing(ptx);
        ptx.Add("""
            mov.u32 stage, 0;
            PRODUCE:
            setp.eq.u32 atEnd, unitsLeft, 0;
            @atEnd bra END;
            WAIT_STAGE_EMPTY:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [full+8], emptyPhase;
            @!ready bra WAIT_STAGE_EMPTY;
            """);
        OrderWeights(ptx, plan);
        OrderActivations(ptx);
        ptx.Add("sub.u32 unitsLeft, unitsLeft, 1;");
        NextSlot(ptx, plan);
        ptx.Add($"""
            add.u32 stage, stage, 1;
            setp.ne.u32 again, stage, {plan.Stages};
            @again bra PRODUCE;
            xor.b32 emptyPhase, emptyPhase, 1;
            bra LAP;
            """);
    }

    private static void StartRing(PtxWriter ptx) => ptx.Add("""
        mov.u32 stageBase, shared;
        mov.u32 full, barriers;
        """);

    private static void NextSlot(PtxWriter ptx, StreamGemmPlan plan) => ptx.Add($"""
        add.u32 stageBase, stageBase, {plan.StageBytes};
        add.u32 full, full, 16;
        """);

    /// <summary>The weights at kElement of the tile's output features to the stage, and on to the next ones.</summary>
    private static void OrderWeights(PtxWriter ptx, StreamGemmPlan plan) => ptx.Add($$"""
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], {{plan.StageBytes}};
        cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [stageBase], [mapWeights, {kElement, tileColumn}], [full];
        add.u32 kElement, kElement, {{StreamGemmPlan.BlockK}};
        setp.eq.u32 wraps, kElement, kPadded;
        @wraps mov.u32 kElement, 0;
        @wraps add.u32 tileColumn, tileColumn, {{StreamGemmPlan.BlockN}};
        """);

    /// <summary>The activations at activationElement to the stage, and on to the next ones.</summary>
    private static void OrderActivations(PtxWriter ptx) => ptx.Add($$"""
        add.u32 stageB, stageBase, {{StreamGemmPlan.BlockN * StreamGemmPlan.BlockK}};
        cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [stageB], [mapActivations, {activationElement, tileRow}], [full];
        add.u32 activationElement, activationElement, {{StreamGemmPlan.BlockK}};
        setp.eq.u32 wraps, activationElement, kPadded;
        @wraps mov.u32 activationElement, 0;
        """);

    private static void Helper(PtxWriter ptx, StreamGemmPlan plan)
    {
        ptx.Add("HELPER:").Add("sub.u32 helperThread, thread, 32;");
        OutlierHelpers.Load(ptx);
        OutlierHelpers.LocateList(ptx, plan.ListOffset);
        ptx.Add($"""
            mov.u32 outlierPhase, 0;
            mov.u32 tileRow, 0;
            add.u32 outlierBuffer, shared, {plan.OutlierOffset};
            add.u32 outlierBarrier, barriers, {OutlierBarrier(plan)};
            griddepcontrol.wait;
            setp.ne.u32 again, rank, 0;
            @again bra HELPED;
            HELP_SEGMENT:
            setp.ge.u32 atEnd, unit, unitEnd;
            @atEnd bra HELPED;
            """);
        LocateSegment(ptx);
        OutlierHelpers.GatherTile(ptx, plan.Numbers, plan.Tokens, StreamGemmPlan.BlockN);
        ptx.Add("""
            mov.u32 unit, segmentEnd;
            bra HELP_SEGMENT;
            HELPED:
            """);
        OutlierHelpers.ReleaseMask(ptx, warpsPerBlock: 3);
        ptx.Add("bra END;");
    }

    private static void Consumer(PtxWriter ptx, StreamGemmPlan plan, string[] accumulators)
    {
        const int High = (1024 >> 4) | (1 << 30);
        ptx.Add("CONSUMER:")
           .Argument("output", nameof(GemmArguments.Output), "u64")
           .Argument("rowSteps", nameof(GemmArguments.RowSteps), "u64")
           .Argument("rowZeros", nameof(GemmArguments.RowZeros), "u64")
           .Argument("partials", nameof(GemmArguments.Partials), "u64")
           .Argument("tickets", nameof(GemmArguments.PartialTickets), "u64")
           .Argument("activation", nameof(GemmArguments.Activation), "u32")
           .Argument("outputStride", nameof(GemmArguments.OutputStride), "u32")
           .Add($"""
            and.b32 groupThread, thread, 127;
            shr.u32 warp, groupThread, 5;
            and.b32 lane, groupThread, 31;
            shr.u32 laneRow, lane, 2;
            and.b32 laneColumn, lane, 3;
            shl.b32 laneColumn, laneColumn, 1;
            mad.lo.u32 featureLocal, warp, 16, laneRow;
            shl.b32 scratchSlot, groupThread, 4;
            add.u32 scratchSlot, scratchSlot, shared;
            add.u32 scratchSlot, scratchSlot, {plan.ScratchOffset};
            mov.u32 descriptorHigh, {High};
            """);
        if (plan.Numbers.HasOutliers)
        {
            ptx.Add($"""
                mov.u32 outlierPhase, 0;
                add.u32 outlierBuffer, shared, {plan.OutlierOffset};
                add.u32 outlierBarrier, barriers, {OutlierBarrier(plan)};
                """);
        }

        ptx.Add("""
            griddepcontrol.wait;
            CONSUME_SEGMENT:
            setp.ge.u32 atEnd, unit, unitEnd;
            @atEnd bra END;
            """);
        LocateSegment(ptx);
        foreach (string accumulator in accumulators)
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }

        ptx.Add($"""
            add.u32 feature, featureLocal, tileColumn;
            setp.lt.u32 validFeature0, feature, nTotal;
            add.u32 total, feature, 8;
            setp.lt.u32 validFeature1, total, nTotal;
            """);
        LoadVectors(ptx, plan);
        ptx.Add($"""
            mov.u32 segmentLeft, segmentUnits;
            mov.u32 releaseBarrier, 0;
            CONSUME:
            shl.b32 full, stage, 4;
            add.u32 full, full, barriers;
            WAIT_STAGE_FULL:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [full], phase;
            @!ready bra WAIT_STAGE_FULL;
            mad.lo.u32 stageBase, stage, {plan.StageBytes}, shared;
            add.u32 stageB, stageBase, {StreamGemmPlan.BlockN * StreamGemmPlan.BlockK};
            bfe.u32 descriptorA, stageBase, 4, 14;
            or.b32 descriptorA, descriptorA, 0x10000;
            bfe.u32 descriptorB, stageB, 4, 14;
            or.b32 descriptorB, descriptorB, 0x10000;
            wgmma.fence.sync.aligned;
            """);
        string registers = string.Join(", ", accumulators);
        for (int k = 0; k < StreamGemmPlan.BlockK / 32; k++)
        {
            ptx.Add($$"""
                mov.b64 descA, {descriptorA, descriptorHigh};
                mov.b64 descB, {descriptorB, descriptorHigh};
                add.u64 descA, descA, {{2 * k}};
                add.u64 descB, descB, {{2 * k}};
                wgmma.mma_async.sync.aligned.m64n{{plan.Tokens}}k32.s32.s8.s8 {{{registers}}}, descA, descB, 1;
                """);
        }

        // A stage is given back while the next one is multiplied: a block alone on its multiprocessor has nothing else to hide the multiplication behind.
        ptx.Add("""
            wgmma.commit_group.sync.aligned;
            wgmma.wait_group.sync.aligned 1;
            setp.eq.u32 isLeader, groupThread, 0;
            setp.ne.and.u32 isFirst, releaseBarrier, 0, isLeader;
            @isFirst mbarrier.arrive.shared::cta.b64 _, [releaseBarrier];
            add.u32 releaseBarrier, full, 8;
            """);
        Ring.NextStage(ptx, plan.Stages);
        ptx.Add("""
            sub.u32 segmentLeft, segmentLeft, 1;
            setp.ne.u32 again, segmentLeft, 0;
            @again bra CONSUME;
            wgmma.wait_group.sync.aligned 0;
            @isLeader mbarrier.arrive.shared::cta.b64 _, [releaseBarrier];
            """);
        Combine(ptx, plan, accumulators);
        Finish(ptx, plan, accumulators);
        ptx.Add("""
            NEXT_SEGMENT:
            mov.u32 unit, segmentEnd;
            bra CONSUME_SEGMENT;
            """);
    }

    /// <summary>isFinal: whether this block has the whole sum of the tile, its own or, as the last to arrive, everybody's.</summary>
    private static void Combine(PtxWriter ptx, StreamGemmPlan plan, string[] accumulators)
    {
        int ticketAt = OutlierBarrier(plan) + 32;
        ptx.Add($"""
            setp.eq.u32 isFinal, segmentUnits, kBlocks;
            @isFinal bra COMBINED;
            @!isAlone bra COMBINE_RANKS;
            mul.lo.u32 total, tile, {plan.Tokens};
            add.u32 total, total, laneColumn;
            mul.wide.u32 pointer, total, {StreamGemmPlan.BlockN * 4};
            mul.wide.u32 pointerRow, featureLocal, 4;
            add.u64 pointer, pointer, pointerRow;
            add.u64 pointer, pointer, partials;
            """);
        ForTokens(ptx, plan, (i, offset) => ptx.Add($"@valid red.relaxed.gpu.global.add.s32 [pointer+{offset}], {accumulators[i]};"));
        ptx.Add($"""
            fence.acq_rel.gpu;
            bar.sync 1, 128;
            setp.eq.u32 isLeader, groupThread, 0;
            mul.wide.u32 pointerRow, tile, 4;
            add.u64 pointerRow, pointerRow, tickets;
            @isLeader atom.acq_rel.gpu.global.add.u32 drawn, [pointerRow], segmentUnits;
            @isLeader add.u32 drawn, drawn, segmentUnits;
            @isLeader st.shared.u32 [barriers+{ticketAt}], drawn;
            bar.sync 1, 128;
            ld.shared.u32 drawn, [barriers+{ticketAt}];
            bar.sync 1, 128;
            setp.eq.u32 isFinal, drawn, kBlocks;
            @!isFinal bra COMBINED;
            fence.acq_rel.gpu;
            @isLeader st.global.u32 [pointerRow], 0;
            """);
        ForTokens(ptx, plan, (i, offset) => ptx.Add($"""
            mov.b32 {accumulators[i]}, 0;
            @valid ld.relaxed.gpu.global.s32 {accumulators[i]}, [pointer+{offset}];
            @valid st.relaxed.gpu.global.s32 [pointer+{offset}], 0;
            """));
        ptx.Add("bra COMBINED;");
        CombineRanks(ptx, plan, accumulators);
        ptx.Add("COMBINED:");
    }

    /// <summary>
    /// The sums of the cluster's other blocks, thread by thread, to the first block, which goes on alone. They count themselves as they arrive: a store with a
    /// release behind it would wait for all that the block has under way in global memory.
    /// </summary>
    private static void CombineRanks(PtxWriter ptx, StreamGemmPlan plan, string[] accumulators)
    {
        const int VectorBytes = 128 * 16;
        int rankBytes = StreamTile.RankBytes(plan.Tokens), vectors = accumulators.Length / 4;
        ptx.Add($"""
            COMBINE_RANKS:
            setp.eq.u32 isFinal, rank, 0;
            @isFinal bra TAKE_RANKS;
            barrier.cluster.wait.acquire;
            sub.u32 total, rank, 1;
            mad.lo.u32 remote, total, {rankBytes}, scratchSlot;
            mapa.shared::cluster.u32 remote, remote, 0;
            add.u32 ranksBarrier, barriers, {RanksBarrier(plan)};
            mapa.shared::cluster.u32 ranksBarrier, ranksBarrier, 0;
            """);
        for (int i = 0; i < vectors; i++)
        {
            ptx.Add($"st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [remote+{i * VectorBytes}], {{{string.Join(", ", accumulators.Skip(4 * i).Take(4))}}}, [ranksBarrier];");
        }

        ptx.Add($"""
            bra END;
            TAKE_RANKS:
            sub.u32 total, ranks, 1;
            mul.lo.u32 total, total, {vectors * VectorBytes};
            setp.eq.u32 isLeader, groupThread, 0;
            @isLeader mbarrier.arrive.expect_tx.shared::cta.b64 _, [barriers+{RanksBarrier(plan)}], total;
            AWAIT_RANKS:
            mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ready, [barriers+{RanksBarrier(plan)}], 0;
            @!ready bra AWAIT_RANKS;
            mov.u32 remote, scratchSlot;
            mov.u32 total, 1;
            TAKE_RANK:
            """);
        for (int i = 0; i < vectors; i++)
        {
            ptx.Add($$"""
                ld.shared.v4.b32 {taken0, taken1, taken2, taken3}, [remote+{{i * VectorBytes}}];
                """);
            for (int j = 0; j < 4; j++)
            {
                ptx.Add($"add.s32 {accumulators[(4 * i) + j]}, {accumulators[(4 * i) + j]}, taken{j};");
            }
        }

        ptx.Add($"""
            add.u32 remote, remote, {rankBytes};
            add.u32 total, total, 1;
            setp.lt.u32 again, total, ranks;
            @again bra TAKE_RANK;
            """);
    }

    /// <summary>What the epilogue needs per output feature and per token is asked for before the mainloop, which hides how long it takes.</summary>
    private static void LoadVectors(PtxWriter ptx, StreamGemmPlan plan)
    {
        bool zeroPoint = plan.Numbers.ZeroPoint;
        ptx.Argument("columnStepsAt", nameof(GemmArguments.ColumnSteps), "u64")
           .Argument("weightSumsAt", nameof(GemmArguments.WeightSums), "u64")
           .Argument("biasAt", nameof(GemmArguments.Bias), "u64")
           .Add($"""
            setp.ne.u64 hasBias, biasAt, 0;
            mul.wide.u32 pointer, feature, 4;
            add.u64 columnStepsAt, columnStepsAt, pointer;
            add.u64 weightSumsAt, weightSumsAt, pointer;
            add.u64 biasAt, biasAt, pointer;
            ld.global.nc.f32 columnStep0, [columnStepsAt];
            ld.global.nc.f32 columnStep1, [columnStepsAt+32];
            mov.f32 bias0, 0f00000000;
            mov.f32 bias1, 0f00000000;
            @hasBias ld.global.nc.f32 bias0, [biasAt];
            @hasBias ld.global.nc.f32 bias1, [biasAt+32];
            {(zeroPoint ? "ld.global.nc.b32 weightSum0, [weightSumsAt];\nld.global.nc.b32 weightSum1, [weightSumsAt+32];" : "")}
            mul.wide.u32 pointer, laneColumn, 4;
            {(zeroPoint ? "add.u64 pointerRow, pointer, rowZeros;" : "")}
            add.u64 pointer, pointer, rowSteps;
            """);
        for (int token = 0; token < plan.Tokens / 4; token++)
        {
            int offset = (token / 2 * 32) + (token % 2 * 4);
            ptx.Add($"ld.global.f32 tokenStep{token}, [pointer+{offset}];");
            if (zeroPoint)
            {
                ptx.Add($"ld.global.s32 tokenZero{token}, [pointerRow+{offset}];");
            }
        }
    }

    private static void Finish(PtxWriter ptx, StreamGemmPlan plan, string[] accumulators)
    {
        GemmNumbers numbers = plan.Numbers;
        for (int i = 0; i < accumulators.Length; i++)
        {
            int token = (i / 4 * 2) + (i % 2), feature = i / 2 % 2;
            Epilogue.Scale(ptx, numbers, accumulators[i], $"tokenStep{token}", $"tokenZero{token}", $"columnStep{feature}", $"weightSum{feature}");
        }

        if (numbers.HasOutliers)
        {
            SumOutliers(ptx, plan, accumulators);
        }

        ptx.Add("@!isFinal bra NEXT_SEGMENT;").Add("@!hasBias bra NO_BIAS;");
        for (int i = 0; i < accumulators.Length; i++)
        {
            ptx.Add($"add.rn.f32 {accumulators[i]}, {accumulators[i]}, bias{i / 2 % 2};");
        }

        ptx.Add("NO_BIAS:");
        Epilogue.ActivateAll(ptx, accumulators, "scratchSlot", 128 * 16, StreamGemmPlan.ScratchSlots);
        int shift = numbers.OutputBytes == 2 ? 1 : 2;
        for (int i = 0; i < accumulators.Length; i++)
        {
            string type = numbers.Output == ElementFormat.BFloat16 ? "bf16" : "f16";
            ptx.Add($"""
                add.u32 token, laneColumn, {(i / 4 * 8) + (i % 2)};
                setp.lt.and.u32 valid, token, mTotal, validFeature{i / 2 % 2};
                mul.wide.u32 pointer, token, outputStride;
                cvt.u64.u32 pointerRow, feature;
                add.u64 pointer, pointer, pointerRow;
                shl.b64 pointer, pointer, {shift};
                add.u64 pointer, pointer, output;
                """);
            ptx.Add(shift == 2
                ? $"@valid st.global.b32 [pointer+{i / 2 % 2 * 32}], {accumulators[i]};"
                : $"cvt.rn.{type}.f32 packedHalf, {accumulators[i]};\n@valid st.global.b16 [pointer+{i / 2 % 2 * 16}], packedHalf;");
        }
    }

    private static void SumOutliers(PtxWriter ptx, StreamGemmPlan plan, string[] accumulators)
    {
        string[] sums = Sums(plan);
        Epilogue.ReadSumsApart(ptx, "pointer");
        for (int i = 0; i < sums.Length; i++)
        {
            Epilogue.StartSum(ptx, sums[i], accumulators[i]);
        }

        ptx.Add($"""
            OUTLIER_CHUNK:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [outlierBarrier], outlierPhase;
            @!ready bra OUTLIER_CHUNK;
            ld.shared.u32 columnsLeft, [outlierBarrier+16];
            ld.shared.u32 lastChunk, [outlierBarrier+20];
            selp.u32 columnsLeft, columnsLeft, 0, isFinal;
            shl.b32 outlierWeights, featureLocal, 2;
            add.u32 outlierWeights, outlierWeights, outlierBuffer;
            shl.b32 outlierRows, laneColumn, 2;
            add.u32 outlierRows, outlierRows, outlierBuffer;
            setp.eq.u32 again, columnsLeft, 0;
            @again bra CHUNK_SUMMED;
            OUTLIER_COLUMN:
            ld.shared.f32 weight0, [outlierWeights];
            ld.shared.f32 weight1, [outlierWeights+32];
            """);
        for (int group = 0; group < plan.Tokens / 8; group++)
        {
            ptx.Add($$"""
                ld.shared.v2.f32 {tokenOutlier0, tokenOutlier1}, [outlierRows+{{(GemmNumbers.OutlierChunk * StreamGemmPlan.BlockN * 4) + (group * 32)}}];
                """);
            for (int i = 0; i < 4; i++)
            {
                string sum = sums[(group * 4) + i];
                ptx.Add($"fma.rn.f32 {sum}, tokenOutlier{i % 2}, weight{i / 2}, {sum};");
            }
        }

        ptx.Add($"""
            add.u32 outlierRows, outlierRows, {plan.Tokens * 4};
            add.u32 outlierWeights, outlierWeights, {StreamGemmPlan.BlockN * 4};
            sub.u32 columnsLeft, columnsLeft, 1;
            setp.ne.u32 again, columnsLeft, 0;
            @again bra OUTLIER_COLUMN;
            CHUNK_SUMMED:
            mbarrier.arrive.shared::cta.b64 _, [outlierBarrier+8];
            bar.warp.sync 0xFFFFFFFF;
            xor.b32 outlierPhase, outlierPhase, 1;
            setp.eq.u32 again, lastChunk, 0;
            @again bra OUTLIER_CHUNK;
            """);
        for (int i = 0; i < sums.Length; i++)
        {
            Epilogue.AddSum(ptx, sums[i], $"columnStep{i / 2 % 2}", accumulators[i]);
        }
    }

    /// <summary>A thread's accumulators with their offsets in the tile's partial sums [Tokens][64]; <c>valid</c> is set for each.</summary>
    private static void ForTokens(PtxWriter ptx, StreamGemmPlan plan, System.Action<int, int> body)
    {
        for (int i = 0; i < plan.Tokens / 2; i++)
        {
            int token = (i / 4 * 8) + (i % 2), half = i / 2 % 2;
            ptx.Add($"""
                add.u32 token, laneColumn, {token};
                setp.lt.u32 valid, token, mTotal;
                """);
            body(i, (token * StreamGemmPlan.BlockN * 4) + (half * 32));
        }
    }
}
