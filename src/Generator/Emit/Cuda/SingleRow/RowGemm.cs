using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// A single row against weights that are read once. A block has 64 output features and all of K, or shares K with the cluster that has them; its producer fills
/// the ring with weights while the kernel ahead still runs and the row is quantized (<see cref="RowQuantization"/>). wgmma's operands are swapped, as in
/// <see cref="StreamGemm"/>; the row is multiplied from where it lies, its seven neighbours being what happens to follow, 16 bytes further each time.
/// </summary>
internal static class RowGemm
{
    private static readonly string[] Accumulators = ["acc0", "acc1", "acc2", "acc3"];

    public static string Emit(RowGemmPlan plan)
    {
        PtxWriter ptx = new();
        GemmNumbers numbers = plan.Numbers;
        ptx.Add($$"""
            .version 8.1
            .target sm_90a
            .address_size 64
            .extern .shared .align 1024 .b8 dynamicShared[];
            .visible .entry {{plan.Name}}(.param .align 64 .b8 paramMap[128], .param .align 8 .b8 args[{{Arguments.Size}}], .param .align 8 .b8 rowArgs[{{Arguments.RowSize}}])
            .maxntid {{RowGemmPlan.Threads}}, 1, 1
            .minnctapersm 2
            {
            """);
        ptx.Registers("b32", "thread", "warpgroup", "groupThread", "lane", "laneRow", "shared", "barriers", "nTotal", "kPadded", "kBlocks", "tileColumn", "ranks", "rank", "ranksBarrier", "remote")
           .Registers("b32", "ownFirst", "ownEnd", "unitsLeft", "kElement", "stage", "phase", "full", "stageBase", "releaseBarrier", "rowCursor", "descriptorA", "descriptorB", "descriptorHighA", "descriptorHighB")
           .Registers("b32", "feature", "featureLocal", "total", "taken0", "taken1")
           .Registers("b64", "mapWeights", "descA", "descB", "output", "pointer")
           .Registers("b16", "packedHalf")
           .Registers("pred", "isRole", "ready", "wraps", "again", "isAlone", "isLeader", "isFirst", "holdsRow")
           .Registers("b32", Accumulators);
        Epilogue.Declare(ptx);
        RowQuantization.Declare(ptx, plan);
        if (numbers.HasOutliers)
        {
            RowOutliers.Declare(ptx);
        }

        Prologue(ptx, plan);
        Producer(ptx, plan);
        if (numbers.HasOutliers)
        {
            ptx.Add("HELPER:");
            RowOutliers.Help(ptx, plan);
            ptx.Add("TAKER:");
            RowOutliers.Take(ptx, plan);
        }

        Consumer(ptx, plan);
        return ptx.Add("""
            END:
            ret;
            }
            """).ToString();
    }

    private static void Prologue(PtxWriter ptx, RowGemmPlan plan)
    {
        ptx.Argument("nTotal", nameof(GemmArguments.N), "u32")
           .Argument("kPadded", nameof(GemmArguments.KPadded), "u32")
           .Add($"""
            mov.u32 thread, %tid.x;
            mov.u32 shared, dynamicShared;
            add.u32 shared, shared, 1023;
            and.b32 shared, shared, 0xFFFFFC00;
            add.u32 barriers, shared, {plan.BarrierOffset};
            shr.u32 kBlocks, kPadded, 7;
            mov.u32 tileColumn, %clusterid.x;
            shl.b32 tileColumn, tileColumn, 6;
            mov.u32 ranks, %cluster_nctarank;
            mov.u32 rank, %cluster_ctarank;
            setp.eq.u32 isAlone, ranks, 1;
            mov.u32 ownFirst, 0;
            mov.u32 ownEnd, kBlocks;
            @isAlone bra OWN;
            mul.lo.u32 ownFirst, kBlocks, rank;
            add.u32 ownEnd, ownFirst, kBlocks;
            div.u32 ownFirst, ownFirst, ranks;
            div.u32 ownEnd, ownEnd, ranks;
            OWN:
            sub.u32 unitsLeft, ownEnd, ownFirst;
            setp.ne.u32 isRole, thread, 0;
            @isRole bra BARRIERS_READY;
            """);
        for (int stage = 0; stage < plan.Stages; stage++)
        {
            ptx.Add($"""
                mbarrier.init.shared::cta.b64 [barriers+{stage * 16}], 1;
                mbarrier.init.shared::cta.b64 [barriers+{(stage * 16) + 8}], {(plan.Numbers.HasOutliers ? 1 + (RowGemmPlan.TakerThreads / 32) : 1)};
                """);
        }

        ptx.Add($"""
            mbarrier.init.shared::cta.b64 [barriers+{plan.OutlierBarrier}], {OutlierHelpers.Threads};
            mbarrier.init.shared::cta.b64 [barriers+{plan.OutlierBarrier + 8}], {RowGemmPlan.ConsumerThreads};
            mbarrier.init.shared::cta.b64 [barriers+{plan.RanksBarrier}], 1;
            mbarrier.init.shared::cta.b64 [barriers+{plan.TakenBarrier}], {RowGemmPlan.TakerThreads};
            fence.mbarrier_init.release.cluster;
            BARRIERS_READY:
            bar.sync 0;
            @!isAlone barrier.cluster.arrive.relaxed;
            griddepcontrol.launch_dependents;
            shr.u32 warpgroup, thread, 7;
            mov.u32 stage, 0;
            mov.u32 phase, 0;
            """);
        RowQuantization.Locate(ptx, plan);
        ptx.Add("""
            setp.ne.u32 isRole, warpgroup, 0;
            @isRole bra CONSUMER;
            """);
    }

    /// <summary>
    /// One thread orders the weights. It does not wait for the kernel ahead, as the block's other threads do. Stages are empty at first: the phase before theirs is
    /// over.
    /// </summary>
    private static void Producer(PtxWriter ptx, RowGemmPlan plan)
    {
        ptx.Add($$"""
            setp.ge.u32 isRole, thread, 32;
            @isRole bra {{(plan.Numbers.HasOutliers ? "HELPER" : "END")}};
            elect.sync _|isRole, 0xFFFFFFFF;
            @!isRole bra END;
            mov.b64 mapWeights, paramMap;
            cvta.param.u64 mapWeights, mapWeights;
            shl.b32 kElement, ownFirst, 7;
            mov.u32 phase, 1;
            PRODUCE:
            shl.b32 full, stage, 4;
            add.u32 full, full, barriers;
            WAIT_STAGE_EMPTY:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [full+8], phase;
            @!ready bra WAIT_STAGE_EMPTY;
            mad.lo.u32 stageBase, stage, {{RowGemmPlan.StageBytes}}, shared;
            mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], {{RowGemmPlan.StageBytes}};
            cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [stageBase], [mapWeights, {kElement, tileColumn}], [full];
            add.u32 kElement, kElement, {{RowGemmPlan.BlockK}};
            """);
        Ring.NextStage(ptx, plan.Stages);
        ptx.Add("""
            sub.u32 unitsLeft, unitsLeft, 1;
            setp.ne.u32 again, unitsLeft, 0;
            @again bra PRODUCE;
            bra END;
            """);
    }

    private static void Consumer(PtxWriter ptx, RowGemmPlan plan)
    {
        bool outliers = plan.Numbers.HasOutliers;

        // Eight rows of 128 bytes, swizzled. The row is not: its next 16 bytes are those of the next row and, 16 bytes being the distance of the descriptor,
        // of the next column too. In a cluster an address has the block's rank above its 18 bits, which must not get there.
        const int HighOfWeights = (1024 >> 4) | (1 << 30), HighOfRow = 128 >> 4;
        ptx.Add("CONSUMER:");
        RowQuantization.Quantize(ptx, plan);
        ptx.Add($"""
            setp.eq.u32 isRole, warpgroup, 2;
            @isRole bra {(outliers ? "TAKER" : "END")};
            and.b32 groupThread, thread, 127;
            and.b32 lane, groupThread, 31;
            shr.u32 laneRow, lane, 2;
            shr.u32 featureLocal, groupThread, 5;
            mad.lo.u32 featureLocal, featureLocal, 16, laneRow;
            add.u32 feature, featureLocal, tileColumn;
            mov.u32 descriptorHighA, {HighOfWeights};
            mov.u32 descriptorHighB, {HighOfRow};
            mad.lo.u32 rowCursor, ownFirst, {RowGemmPlan.BlockK}, rowAt;
            add.u32 ranksBarrier, barriers, {plan.RanksBarrier};
            mapa.shared::cluster.u32 ranksBarrier, ranksBarrier, 0;
            setp.ne.u32 again, rank, 0;
            @again barrier.cluster.wait.acquire;
            """);
        LoadVectors(ptx);
        if (outliers)
        {
            RowOutliers.Start(ptx, plan);
        }

        foreach (string accumulator in Accumulators)
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }

        ptx.Add($"""
            mov.u32 releaseBarrier, 0;
            CONSUME:
            shl.b32 full, stage, 4;
            add.u32 full, full, barriers;
            WAIT_STAGE_FULL:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [full], phase;
            @!ready bra WAIT_STAGE_FULL;
            mad.lo.u32 stageBase, stage, {RowGemmPlan.StageBytes}, shared;
            bfe.u32 descriptorA, stageBase, 4, 14;
            or.b32 descriptorA, descriptorA, 0x10000;
            bfe.u32 descriptorB, rowCursor, 4, 14;
            or.b32 descriptorB, descriptorB, 0x10000;
            add.u32 rowCursor, rowCursor, {RowGemmPlan.BlockK};
            wgmma.fence.sync.aligned;
            """);
        string registers = string.Join(", ", Accumulators);
        for (int k = 0; k < RowGemmPlan.BlockK / 32; k++)
        {
            ptx.Add($$"""
                mov.b64 descA, {descriptorA, descriptorHighA};
                mov.b64 descB, {descriptorB, descriptorHighB};
                add.u64 descA, descA, {{2 * k}};
                add.u64 descB, descB, {{2 * k}};
                wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {{{registers}}}, descA, descB, 1;
                """);
        }

        // A stage is given back while the next one is multiplied.
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
            sub.u32 unitsLeft, unitsLeft, 1;
            setp.ne.u32 again, unitsLeft, 0;
            @again bra CONSUME;
            wgmma.wait_group.sync.aligned 0;
            @!isAlone bra COMBINE;
            COMBINED:
            """);
        Finish(ptx, plan);
        Combine(ptx, plan);
    }

    /// <summary>What the epilogue needs per output feature is asked for before the mainloop, which hides how long it takes.</summary>
    private static void LoadVectors(PtxWriter ptx) => ptx
        .Argument("pointer", nameof(GemmArguments.ColumnSteps), "u64")
        .Argument("output", nameof(GemmArguments.Bias), "u64")
        .Add("""
            setp.ne.u64 hasBias, output, 0;
            mad.wide.u32 pointer, feature, 4, pointer;
            mad.wide.u32 output, feature, 4, output;
            ld.global.nc.f32 columnStep0, [pointer];
            ld.global.nc.f32 columnStep1, [pointer+32];
            mov.f32 bias0, 0f00000000;
            mov.f32 bias1, 0f00000000;
            @hasBias ld.global.nc.f32 bias0, [output];
            @hasBias ld.global.nc.f32 bias1, [output+32];
            """);

    /// <summary>
    /// The row's sums, which one of four lanes has, from the cluster's other blocks to the first one, which goes on alone. They count themselves as they arrive:
    /// a store with a release behind it would wait for all that the block has under way in global memory.
    /// </summary>
    private static void Combine(PtxWriter ptx, RowGemmPlan plan)
    {
        const int RankBytes = RowGemmPlan.BlockN * 4;
        ptx.Add($"""
            COMBINE:
            and.b32 remote, lane, 3;
            setp.eq.u32 holdsRow, remote, 0;
            mad.lo.u32 remote, featureLocal, 4, shared;
            setp.eq.u32 again, rank, 0;
            @again bra TAKE_RANKS;
            sub.u32 total, rank, 1;
            mad.lo.u32 remote, total, {RankBytes}, remote;
            mapa.shared::cluster.u32 remote, remote, 0;
            @holdsRow st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [remote+{plan.RanksOffset}], acc0, [ranksBarrier];
            @holdsRow st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [remote+{plan.RanksOffset + 32}], acc2, [ranksBarrier];
            bra END;
            TAKE_RANKS:
            sub.u32 total, ranks, 1;
            mul.lo.u32 total, total, {RankBytes};
            """);
        if (plan.Numbers.HasOutliers)
        {
            RowOutliers.CountOthers(ptx);
        }

        ptx.Add($"""
            setp.eq.u32 isLeader, groupThread, 0;
            @isLeader mbarrier.arrive.expect_tx.shared::cta.b64 _, [barriers+{plan.RanksBarrier}], total;
            AWAIT_RANKS:
            mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ready, [barriers+{plan.RanksBarrier}], 0;
            @!ready bra AWAIT_RANKS;
            mov.u32 total, 1;
            TAKE_RANK:
            ld.shared.b32 taken0, [remote+{plan.RanksOffset}];
            ld.shared.b32 taken1, [remote+{plan.RanksOffset + 32}];
            add.s32 acc0, acc0, taken0;
            add.s32 acc2, acc2, taken1;
            add.u32 remote, remote, {RankBytes};
            add.u32 total, total, 1;
            setp.lt.u32 again, total, ranks;
            @again bra TAKE_RANK;
            bra COMBINED;
            """);
    }

    private static void Finish(PtxWriter ptx, RowGemmPlan plan)
    {
        Epilogue.Scale(ptx, plan.Numbers, "acc0", "rowStep", "", "columnStep0", "");
        Epilogue.Scale(ptx, plan.Numbers, "acc2", "rowStep", "", "columnStep1", "");
        if (plan.Numbers.HasOutliers)
        {
            RowOutliers.Sum(ptx, plan);
        }

        ptx.Argument("activation", nameof(GemmArguments.Activation), "u32")
           .Argument("output", nameof(GemmArguments.Output), "u64")
           .Add($"""
            @hasBias add.rn.f32 acc0, acc0, bias0;
            @hasBias add.rn.f32 acc2, acc2, bias1;
            setp.eq.u32 isCurve, activation, {(int)Activation.None};
            @isCurve bra ACTIVATED;
            """);
        Epilogue.Relu(ptx, "acc0");
        Epilogue.Relu(ptx, "acc2");
        ptx.Add("""
            ACTIVATED:
            and.b32 total, lane, 3;
            setp.eq.u32 holdsRow, total, 0;
            mad.wide.u32 pointer, feature, 2, output;
            setp.lt.and.u32 again, feature, nTotal, holdsRow;
            add.u32 feature, feature, 8;
            setp.lt.and.u32 ready, feature, nTotal, holdsRow;
            """);
        string type = plan.Numbers.Output == ElementFormat.BFloat16 ? "bf16" : "f16";
        ptx.Add($"""
            cvt.rn.{type}.f32 packedHalf, acc0;
            @again st.global.b16 [pointer], packedHalf;
            cvt.rn.{type}.f32 packedHalf, acc2;
            @ready st.global.b16 [pointer+16], packedHalf;
            bra END;
            """);
    }
}
