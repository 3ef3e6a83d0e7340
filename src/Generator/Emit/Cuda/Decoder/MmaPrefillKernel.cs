using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>Attention of a tile of queries of one sequence and head by mma.sync; pages of keys and values pass through two buffers in shared memory.</summary>
internal static class MmaPrefillKernel
{
    public static string Emit(DecoderKernelPlan plan, MmaPrefillPlan shape)
    {
        PtxWriter ptx = Begin<AttentionArguments>(plan, MmaPrefillPlan.Threads, dynamicShared: true);
        PrefillAttention.Declare(ptx, shape.HeadSize);
        ptx.Registers("b32", "pageId", "nextPageId", "stage", "stageKeys", "stageValues", "copyRow", "copyAddress", "keyLane", "valueLane", "copyBytes")
           .Registers("b64", "copiedPages", "copyOffset", "pageBase")
           .Registers("pred", "present", "more")
           .Registers("b32", Names("b", 4));
        ptx.LaunchNext(plan);
        PrefillAttention.Arguments(ptx);
        ptx.WaitForPrevious(plan);
        PrefillAttention.Locate(ptx);
        LocateCopies(ptx, shape);
        PrefillAttention.LoadQueries(ptx, shape.HeadSize);
        Mainloop(ptx, shape);
        PrefillAttention.Finish(ptx, shape.HeadSize);
        return ptx.End();
    }

    /// <summary>Half of the threads copy keys, half values: two per position, 16 bytes at a time.</summary>
    private static void LocateCopies(PtxWriter ptx, MmaPrefillPlan shape) => ptx
        .Argument<AttentionArguments>("copiedPages", nameof(AttentionArguments.KeyPages), "u64")
        .Argument<AttentionArguments>("pageBase", nameof(AttentionArguments.ValuePages), "u64")
        .Add($"""
        setp.ge.u32 again, thread, {MmaPrefillPlan.Threads / 2};
        @again mov.u64 copiedPages, pageBase;
        bfe.u32 copyRow, thread, 1, 6;
        and.b32 scratch, thread, 1;
        shl.b32 scratch, scratch, 4;
        mov.u32 copyAddress, dynamicShared;
        @again add.u32 copyAddress, copyAddress, {shape.TileBytes};
        mad.lo.u32 copyAddress, copyRow, {shape.Pitch}, copyAddress;
        add.u32 copyAddress, copyAddress, scratch;
        cvt.u64.u32 offset, scratch;
        mul.wide.u32 copyOffset, copyRow, {shape.HeadSize * 2};
        add.u64 copyOffset, copyOffset, offset;
        and.b32 scratch, lane, 7;
        shr.u32 at, lane, 4;
        mad.lo.u32 at, at, 8, scratch;
        mul.lo.u32 keyLane, at, {shape.Pitch};
        shr.u32 at, lane, 3;
        and.b32 at, at, 1;
        mad.lo.u32 keyLane, at, 16, keyLane;
        mad.lo.u32 at, at, 8, scratch;
        mul.lo.u32 valueLane, at, {shape.Pitch};
        shr.u32 at, lane, 4;
        mad.lo.u32 valueLane, at, 16, valueLane;
        mov.u32 scratch, dynamicShared;
        add.u32 keyLane, keyLane, scratch;
        add.u32 valueLane, valueLane, scratch;
        add.u32 valueLane, valueLane, {shape.TileBytes};
        """);

    /// <summary>A page's number, for the copies of a later turn.</summary>
    private static void LookUp(PtxWriter ptx, string page, string register) => ptx.Add($"""
        mul.wide.u32 offset, {page}, 4;
        add.u64 pointer, pageTable, offset;
        ld.global.u32 {register}, [pointer];
        """);

    /// <summary>A page of keys and values on its way to shared memory. Positions that the tile does not see become zeros: what lies there in the cache may be NaN.</summary>
    private static void Copy(PtxWriter ptx, MmaPrefillPlan shape)
    {
        ptx.Add($"""
            mul.wide.u32 pageBase, pageId, keyValueHeads;
            cvt.u64.u32 offset, keyValueHead;
            add.u64 pageBase, pageBase, offset;
            mul.lo.u64 pageBase, pageBase, {PrefillAttention.PageSize * shape.HeadSize * 2};
            add.u64 pageBase, pageBase, copyOffset;
            shl.b32 scratch, at, 6;
            add.u32 scratch, scratch, copyRow;
            setp.lt.u32 present, scratch, limit;
            selp.b32 copyBytes, 16, 0, present;
            mad.lo.u32 scratch, stage, {2 * shape.TileBytes}, copyAddress;
            add.u64 pageBase, pageBase, copiedPages;
            """);
        for (int i = 0; i < shape.HeadSize / 16; i++)
        {
            ptx.Add($"cp.async.cg.shared.global [scratch+{i * 32}], [pageBase+{i * 32}], 16, copyBytes;");
        }
    }

    private static void Mainloop(PtxWriter ptx, MmaPrefillPlan shape)
    {
        LookUp(ptx, "page", "pageId");
        ptx.Add("""
            mov.u32 stage, 0;
            mov.u32 at, page;
            """);
        Copy(ptx, shape);
        ptx.Add("""
            cp.async.commit_group;
            add.u32 at, page, 1;
            setp.le.u32 more, at, lastPage;
            @!more bra PAGE;
            """);
        LookUp(ptx, "at", "nextPageId");
        ptx.Add("""
            PAGE:
            add.u32 at, page, 1;
            setp.le.u32 more, at, lastPage;
            @!more bra COPIED;
            mov.u32 pageId, nextPageId;
            xor.b32 stage, stage, 1;
            """);
        Copy(ptx, shape);
        ptx.Add("""
            xor.b32 stage, stage, 1;
            add.u32 at, page, 2;
            setp.le.u32 more, at, lastPage;
            @!more bra COPIED;
            """);
        LookUp(ptx, "at", "nextPageId");
        ptx.Add($"""
            COPIED:
            cp.async.commit_group;
            cp.async.wait_group 1;
            bar.sync 0;
            shl.b32 at, page, 6;
            setp.gt.u32 again, at, warpLast;
            @again bra ATTENDED;
            mad.lo.u32 stageKeys, stage, {2 * shape.TileBytes}, keyLane;
            mad.lo.u32 stageValues, stage, {2 * shape.TileBytes}, valueLane;
            """);
        Scores(ptx, shape);
        PrefillAttention.Mask(ptx);
        PrefillAttention.Softmax(ptx);
        PrefillAttention.Decay(ptx, shape.HeadSize);
        PrefillAttention.RoundWeights(ptx);
        Results(ptx, shape);
        ptx.Add("""
            ATTENDED:
            bar.sync 0;
            xor.b32 stage, stage, 1;
            add.u32 page, page, 1;
            setp.le.u32 again, page, lastPage;
            @again bra PAGE;
            """);
    }

    private static string Mma(string sums, string a, string b) =>
        $"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {sums}, {a}, {b}, {sums};";

    private static void Scores(PtxWriter ptx, MmaPrefillPlan shape)
    {
        foreach (string score in PrefillAttention.Scores)
        {
            ptx.Add($"mov.f32 {score}, 0f00000000;");
        }

        for (int k = 0; k < shape.HeadSize / 16; k++)
        {
            for (int n = 0; n < PrefillAttention.ScoreTiles; n += 2)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {Vector(Names("b", 4))}, [stageKeys+{(n * 8 * shape.Pitch) + (k * 32)}];")
                   .Add(Mma(Vector(Names($"s{n}_", 4)), Vector(Names($"q{k}_", 4)), "{b0, b1}"))
                   .Add(Mma(Vector(Names($"s{n + 1}_", 4)), Vector(Names($"q{k}_", 4)), "{b2, b3}"));
            }
        }
    }

    private static void Results(PtxWriter ptx, MmaPrefillPlan shape)
    {
        for (int k = 0; k < PrefillAttention.WeightSteps; k++)
        {
            for (int n = 0; n < shape.HeadSize / 8; n += 2)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {Vector(Names("b", 4))}, [stageValues+{(k * 16 * shape.Pitch) + (n * 16)}];")
                   .Add(Mma(Vector(Names($"o{n}_", 4)), Vector(Names($"p{k}_", 4)), "{b0, b1}"))
                   .Add(Mma(Vector(Names($"o{n + 1}_", 4)), Vector(Names($"p{k}_", 4)), "{b2, b3}"));
            }
        }
    }
}
