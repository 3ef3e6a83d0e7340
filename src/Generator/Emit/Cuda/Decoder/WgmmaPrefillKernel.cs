using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Attention of a tile of queries of one sequence and head on Hopper (Shah et al., arXiv 2407.08608): two warpgroups multiply by wgmma, each with 64 queries in registers, and share
/// pages of keys and values, which a warp of a third one brings by TMA. The scores of a page are on their way while the values of the one before are added, and are
/// made weights while the sums are.
/// </summary>
internal static class WgmmaPrefillKernel
{
    /// <summary>Registers of a thread: together what the block was given.</summary>
    private const int ProducerRegisters = 40, ConsumerRegisters = 232;

    private const int KeysFull = 0, ValuesFull = 8, Empty = 16, BarrierBytes = WgmmaPrefillPlan.BarrierBytes, BoxBytes = WgmmaPrefillPlan.BoxBytes;

    public static string Emit(DecoderKernelPlan plan, WgmmaPrefillPlan shape)
    {
        PtxWriter ptx = Begin<AttentionArguments>(plan, WgmmaPrefillPlan.Threads, dynamicShared: true, tensorMaps: 2);
        PrefillAttention.Declare(ptx, shape.HeadSize);
        ptx.Registers("b32", "shared", "barriers", "stage", "phase", "nextStage", "nextPhase", "barrier", "descriptorLow", "descriptorHigh", "groupLast")
           .Registers("b32", "pageIds", "pageId", "cacheRow", "stageAt", "valuesBarrier", "zero")
           .Registers("b64", "mapKeys", "mapValues", "descriptor")
           .Registers("pred", "ready", "isLeader", "isConsumer", "accumulates", "isLast", "wraps");
        ptx.LaunchNext(plan);
        PrefillAttention.Arguments(ptx);
        Prologue(ptx, shape);
        ptx.WaitForPrevious(plan);
        PrefillAttention.Locate(ptx);
        ptx.Add($"""
            setp.lt.u32 isConsumer, warp, {4 * WgmmaPrefillPlan.Consumers};
            elect.sync _|isLeader, 0xFFFFFFFF;
            mov.u32 stage, 0;
            @isConsumer bra CONSUMER;
            """);
        Producer(ptx, shape);
        Consumer(ptx, shape);
        return ptx.End();
    }

    private static void Prologue(PtxWriter ptx, WgmmaPrefillPlan shape)
    {
        ptx.Add($"""
            mov.u32 shared, dynamicShared;
            add.u32 shared, shared, 1023;
            and.b32 shared, shared, 0xFFFFFC00;
            add.u32 barriers, shared, {shape.BarrierOffset};
            mov.b64 mapKeys, paramMap0;
            cvta.param.u64 mapKeys, mapKeys;
            mov.b64 mapValues, paramMap1;
            cvta.param.u64 mapValues, mapValues;
            mov.u32 thread, %tid.x;
            setp.ne.u32 again, thread, 0;
            @again bra BARRIERS_READY;
            prefetch.tensormap [mapKeys];
            prefetch.tensormap [mapValues];
            """);
        for (int stage = 0; stage < WgmmaPrefillPlan.Stages; stage++)
        {
            ptx.Add($"""
                mbarrier.init.shared::cta.b64 [barriers+{(stage * BarrierBytes) + KeysFull}], 1;
                mbarrier.init.shared::cta.b64 [barriers+{(stage * BarrierBytes) + ValuesFull}], 1;
                mbarrier.init.shared::cta.b64 [barriers+{(stage * BarrierBytes) + Empty}], {WgmmaPrefillPlan.Consumers};
                """);
        }

        ptx.Add($"""
            mbarrier.init.shared::cta.b64 [barriers+{WgmmaPrefillPlan.TailOffset}], 1;
            fence.mbarrier_init.release.cluster;
            BARRIERS_READY:
            bar.sync 0;
            """);
    }

    private static void Wait(PtxWriter ptx, string barrier, string phase)
    {
        string wait = ptx.Label("WAIT");
        ptx.Add($"""
            {wait}:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [{barrier}], {phase};
            @!ready bra {wait};
            """);
    }

    /// <summary>The stage and phase that follow.</summary>
    private static void Advance(PtxWriter ptx, string stage, string phase) => ptx.Add($"""
        add.u32 {stage}, stage, 1;
        mov.u32 {phase}, phase;
        setp.eq.u32 wraps, {stage}, {WgmmaPrefillPlan.Stages};
        @wraps mov.u32 {stage}, 0;
        @wraps xor.b32 {phase}, {phase}, 1;
        """);

    /// <summary>
    /// A whole warp, of which one thread gives orders to TMA. What lies beyond the last position of a page may be NaN, which no weight of zero makes harmless: the
    /// values of a page that ends early come by a barrier of their own, and are handed on with zeros there.
    /// </summary>
    private static void Producer(PtxWriter ptx, WgmmaPrefillPlan shape)
    {
        ptx.Add($$"""
            setmaxnreg.dec.sync.aligned.u32 {{ProducerRegisters}};
            setp.gt.u32 again, warp, {{4 * WgmmaPrefillPlan.Consumers}};
            @again bra DONE;
            mov.u32 phase, 1;
            mov.u32 at, 0;
            and.b32 zero, limit, {{DecoderRow.PageSize - 1}};
            PRODUCE:
            and.b32 scratch, at, 31;
            setp.ne.u32 again, scratch, 0;
            @again bra LOOKED_UP;
            add.u32 pageId, page, lane;
            setp.le.u32 again, pageId, lastPage;
            mul.wide.u32 offset, pageId, 4;
            add.u64 pointer, pageTable, offset;
            @again ld.global.u32 pageIds, [pointer];
            LOOKED_UP:
            shfl.sync.idx.b32 pageId, pageIds, scratch, 31, 0xFFFFFFFF;
            mad.lo.u32 cacheRow, pageId, keyValueHeads, keyValueHead;
            shl.b32 cacheRow, cacheRow, 6;
            mad.lo.u32 barrier, stage, {{BarrierBytes}}, barriers;
            mad.lo.u32 stageAt, stage, {{shape.StageBytes}}, shared;
            add.u32 scratch, barrier, {{Empty}};
            """);
        Wait(ptx, "scratch", "phase");
        ptx.Add($$"""
            setp.eq.u32 isLast, page, lastPage;
            setp.ne.and.u32 isLast, zero, 0, isLast;
            add.u32 valuesBarrier, barrier, {{ValuesFull}};
            @isLast add.u32 valuesBarrier, barriers, {{WgmmaPrefillPlan.TailOffset}};
            @isLeader mbarrier.arrive.expect_tx.shared::cta.b64 _, [barrier], {{shape.TileBytes}};
            """);
        Load(ptx, shape, "mapKeys", 0, "barrier");
        ptx.Add($"@isLeader mbarrier.arrive.expect_tx.shared::cta.b64 _, [valuesBarrier], {shape.TileBytes};");
        Load(ptx, shape, "mapValues", shape.TileBytes, "valuesBarrier");
        Advance(ptx, "stage", "phase");
        ptx.Add("""
            add.u32 at, at, 1;
            add.u32 page, page, 1;
            setp.le.u32 again, page, lastPage;
            @again bra PRODUCE;
            setp.eq.u32 again, zero, 0;
            @again bra DONE;
            """);
        Wait(ptx, "valuesBarrier", "0");
        ptx.Add($"""
            shl.b32 at, zero, 7;
            mad.lo.u32 at, lane, 16, at;
            mov.u32 zero, 0;
            CLEAR:
            setp.lt.u32 again, at, {BoxBytes};
            add.u32 scratch, stageAt, at;
            """);
        for (int box = 0; box < shape.Boxes; box++)
        {
            ptx.Add($$"""@again st.shared.v4.b32 [scratch+{{shape.TileBytes + (box * BoxBytes)}}], {zero, zero, zero, zero};""");
        }

        ptx.Add($"""
            add.u32 at, at, 512;
            @again bra CLEAR;
            fence.proxy.async.shared::cta;
            bar.warp.sync 0xFFFFFFFF;
            @isLeader mbarrier.arrive.shared::cta.b64 _, [barrier+{ValuesFull}];
            bra DONE;
            """);
    }

    private static void Load(PtxWriter ptx, WgmmaPrefillPlan shape, string map, int at, string barrier)
    {
        for (int box = 0; box < shape.Boxes; box++)
        {
            ptx.Add($$"""
                mov.u32 scratch, {{box * 128}};
                add.u32 pageId, stageAt, {{at + (box * BoxBytes)}};
                @isLeader cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [pageId], [{{map}}, {scratch, cacheRow}], [{{barrier}}];
                """);
        }
    }

    private static void Consumer(PtxWriter ptx, WgmmaPrefillPlan shape)
    {
        // A warpgroup sees no page that begins beyond its last query. That is the tile's last page at most, whose stage nobody waits for.
        ptx.Add($"""
            CONSUMER:
            setmaxnreg.inc.sync.aligned.u32 {ConsumerRegisters};
            and.b32 scratch, warp, 3;
            setp.eq.and.u32 isLeader, scratch, 0, isLeader;
            mov.u32 phase, 0;
            shr.u32 scratch, warp, 2;
            mad.lo.u32 groupLast, scratch, 64, firstPosition;
            add.u32 groupLast, groupLast, 63;
            shr.u32 groupLast, groupLast, 6;
            min.u32 groupLast, groupLast, lastPage;
            mov.u32 descriptorHigh, {(1024 >> 4) | (1 << 30)};
            setp.ne.u32 accumulates, thread, thread;
            """);
        PrefillAttention.LoadQueries(ptx, shape.HeadSize);
        WaitFor(ptx, "stage", "phase", KeysFull);
        ptx.Add("wgmma.fence.sync.aligned;");
        Scores(ptx, shape, "stage");
        ptx.Add("""
            wgmma.commit_group.sync.aligned;
            wgmma.wait_group.sync.aligned 0;
            """);
        Weights(ptx);
        PrefillAttention.RoundWeights(ptx);
        ptx.Add("""
            NEXT_PAGE:
            setp.ge.u32 again, page, groupLast;
            @again bra LAST_VALUES;
            add.u32 page, page, 1;
            """);
        Advance(ptx, "nextStage", "nextPhase");
        WaitFor(ptx, "nextStage", "nextPhase", KeysFull);
        ptx.Add("wgmma.fence.sync.aligned;");
        Scores(ptx, shape, "nextStage");
        ptx.Add("wgmma.commit_group.sync.aligned;");
        WaitFor(ptx, "stage", "phase", ValuesFull);
        Results(ptx, shape);
        ptx.Add("""
            wgmma.commit_group.sync.aligned;
            wgmma.wait_group.sync.aligned 1;
            """);
        Weights(ptx);
        ptx.Add($"""
            wgmma.wait_group.sync.aligned 0;
            mad.lo.u32 barrier, stage, {BarrierBytes}, barriers;
            @isLeader mbarrier.arrive.shared::cta.b64 _, [barrier+{Empty}];
            mov.u32 stage, nextStage;
            mov.u32 phase, nextPhase;
            """);
        PrefillAttention.Decay(ptx, shape.HeadSize);
        PrefillAttention.RoundWeights(ptx);
        ptx.Add("""
            bra NEXT_PAGE;
            LAST_VALUES:
            """);
        WaitFor(ptx, "stage", "phase", ValuesFull);
        ptx.Add("wgmma.fence.sync.aligned;");
        Results(ptx, shape);
        ptx.Add("""
            wgmma.commit_group.sync.aligned;
            wgmma.wait_group.sync.aligned 0;
            """);
        PrefillAttention.Finish(ptx, shape.HeadSize);
    }

    private static void WaitFor(PtxWriter ptx, string stage, string phase, int barrier)
    {
        ptx.Add($"mad.lo.u32 barrier, {stage}, {BarrierBytes}, barriers;");
        if (barrier > 0)
        {
            ptx.Add($"add.u32 barrier, barrier, {barrier};");
        }

        Wait(ptx, "barrier", phase);
    }

    private static void Weights(PtxWriter ptx)
    {
        PrefillAttention.Mask(ptx);
        PrefillAttention.Softmax(ptx);
    }

    /// <summary>Queries times the keys of a page: 64 values of a position lie in a swizzled row of 128 bytes, the next 64 in the next box.</summary>
    private static void Scores(PtxWriter ptx, WgmmaPrefillPlan shape, string stage)
    {
        ptx.Add($"""
            mad.lo.u32 descriptorLow, {stage}, {shape.StageBytes}, shared;
            shr.u32 descriptorLow, descriptorLow, 4;
            or.b32 descriptorLow, descriptorLow, 0x10000;
            """);
        for (int k = 0; k < shape.HeadSize / 16; k++)
        {
            Multiply(ptx, PrefillAttention.Scores, $"q{k}_", ((k / 4 * BoxBytes) + (k % 4 * 32)) >> 4, k == 0 ? "accumulates" : "1", transposed: 0);
        }
    }

    /// <summary>
    /// Weights times the values of a page, which are transposed on their way: the descriptor's leading offset is from 64 of a position's values to the next, its stride from
    /// eight positions to the next.
    /// </summary>
    private static void Results(PtxWriter ptx, WgmmaPrefillPlan shape)
    {
        ptx.Add($"""
            mad.lo.u32 descriptorLow, stage, {shape.StageBytes}, shared;
            add.u32 descriptorLow, descriptorLow, {shape.TileBytes};
            shr.u32 descriptorLow, descriptorLow, 4;
            or.b32 descriptorLow, descriptorLow, {(BoxBytes >> 4) << 16};
            """);
        for (int k = 0; k < PrefillAttention.WeightSteps; k++)
        {
            Multiply(ptx, PrefillAttention.Results(shape.HeadSize), $"p{k}_", (k * 16 * 128) >> 4, "1", transposed: 1);
        }
    }

    private static void Multiply(PtxWriter ptx, string[] sums, string a, int offset, string accumulate, int transposed) => ptx.Add($$"""
        mov.b64 descriptor, {descriptorLow, descriptorHigh};
        {{(offset > 0 ? $"add.u64 descriptor, descriptor, {offset};" : "")}}
        wgmma.mma_async.sync.aligned.m64n{{sums.Length * 2}}k16.f32.f16.f16 {{Vector(sums)}}, {{Vector(Names(a, 4))}}, descriptor, {{accumulate}}, 1, 1, {{transposed}};
        """);
}
