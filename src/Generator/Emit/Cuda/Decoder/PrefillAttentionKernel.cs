using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Attention of a tile of queries of one sequence and head on tensor cores (Dao, arXiv 2307.08691): every warp holds 16 queries and their results in registers,
/// pages of keys and values pass through two buffers in shared memory, scores live in registers between the two products. Pages lie at multiples of 64
/// positions whatever the tile, and a page or position beyond a query changes none of its bits: it adds exact zeros.
/// </summary>
internal static class PrefillAttentionKernel
{
    private const int PageSize = DecoderRow.PageSize, ScoreTiles = PageSize / 8;

    private const string MinusInfinity = "0fFF800000";

    public static string Emit(DecoderKernelPlan plan, PrefillAttentionPlan shape)
    {
        PtxWriter ptx = Begin<AttentionArguments>(plan, PrefillAttentionPlan.Threads, dynamicShared: true);
        Declare(ptx, shape);
        ptx.LaunchNext(plan);
        Arguments(ptx);
        ptx.WaitForPrevious(plan);
        Locate(ptx, shape);
        LoadQueries(ptx, shape);
        Mainloop(ptx, shape);
        Finish(ptx, shape);
        return ptx.End();
    }

    private static void Declare(PtxWriter ptx, PrefillAttentionPlan shape)
    {
        ptx.Registers("b32", "thread", "warp", "lane", "laneRow", "laneColumn", "block", "heads", "keyValueHeads", "maxPages", "window", "outputStride", "strideRow", "strideHead", "head", "keyValueHead", "tile", "firstRow", "tileRows", "sequence", "firstPosition")
           .Registers("b32", "limit", "page", "lastPage", "pageId", "nextPageId", "scratch", "row0", "row1", "position0", "position1", "warpFirst", "warpLast", "at", "stage", "stageKeys", "stageValues", "copyRow", "copyAddress", "keyLane", "valueLane", "copyBytes", "pageStart", "pageEnd", "distance32")
           .Registers("b64", "queries", "tiles", "keyPages", "valuePages", "pageTable", "slopes", "output", "pointer", "offset", "copyOffset", "pageBase", "from")
           .Registers("f32", "scale", "slope", "high0", "high1", "newHigh0", "newHigh1", "safe0", "safe1", "decay0", "decay1", "total0", "total1", "remote", "distance")
           .Registers("pred", "again", "present0", "present1", "present", "isMasked", "hasSlope", "isEmpty", "isFull", "more")
           .Registers("b32", Names("b", 4)).Registers("b32", Names("p", 4)).Registers("b32", "packed");
        for (int k = 0; k < shape.HeadSize / 16; k++)
        {
            ptx.Registers("b32", Names($"q{k}_", 4));
        }

        for (int n = 0; n < ScoreTiles; n++)
        {
            ptx.Registers("f32", Names($"s{n}_", 4));
        }

        for (int n = 0; n < shape.HeadSize / 8; n++)
        {
            ptx.Registers("f32", Names($"o{n}_", 4));
        }
    }

    private static void Arguments(PtxWriter ptx)
    {
        foreach ((string register, string field, string type) in new[]
        {
            ("queries", nameof(AttentionArguments.Queries), "u64"), ("tiles", nameof(AttentionArguments.Tiles), "u64"),
            ("keyPages", nameof(AttentionArguments.KeyPages), "u64"), ("valuePages", nameof(AttentionArguments.ValuePages), "u64"),
            ("pageTable", nameof(AttentionArguments.PageTable), "u64"), ("slopes", nameof(AttentionArguments.Slopes), "u64"),
            ("output", nameof(AttentionArguments.Output), "u64"), ("heads", nameof(AttentionArguments.Heads), "u32"),
            ("keyValueHeads", nameof(AttentionArguments.KeyValueHeads), "u32"), ("maxPages", nameof(AttentionArguments.MaxPages), "u32"),
            ("window", nameof(AttentionArguments.Window), "u32"), ("outputStride", nameof(AttentionArguments.OutputStride), "u32"),
            ("strideRow", nameof(AttentionArguments.QueryRowStride), "u32"), ("strideHead", nameof(AttentionArguments.QueryHeadStride), "u32"),
            ("scale", nameof(AttentionArguments.Scale), "f32"),
        })
        {
            ptx.Argument<AttentionArguments>(register, field, type);
        }
    }

    private static void Locate(PtxWriter ptx, PrefillAttentionPlan shape) => ptx.Add($$"""
        mov.u32 thread, %tid.x;
        shr.u32 warp, thread, 5;
        and.b32 lane, thread, 31;
        shr.u32 laneRow, lane, 2;
        and.b32 laneColumn, lane, 3;
        shl.b32 laneColumn, laneColumn, 1;
        mov.u32 block, %ctaid.x;
        div.u32 tile, block, heads;
        mul.lo.u32 scratch, tile, heads;
        sub.u32 head, block, scratch;
        div.u32 scratch, heads, keyValueHeads;
        div.u32 keyValueHead, head, scratch;
        mul.wide.u32 offset, tile, 16;
        add.u64 tiles, tiles, offset;
        ld.global.v4.b32 {firstRow, tileRows, sequence, firstPosition}, [tiles];
        setp.eq.u32 again, tileRows, 0;
        @again bra DONE;
        add.u32 limit, firstPosition, tileRows;
        sub.u32 lastPage, limit, 1;
        shr.u32 lastPage, lastPage, 6;
        add.u32 scratch, firstPosition, 1;
        sub.u32 page, scratch, window;
        setp.gt.u32 again, window, scratch;
        @again mov.u32 page, 0;
        shr.u32 page, page, 6;
        mad.lo.u32 row0, warp, 16, laneRow;
        add.u32 row1, row0, 8;
        add.u32 position0, firstPosition, row0;
        add.u32 position1, firstPosition, row1;
        mad.lo.u32 warpFirst, warp, 16, firstPosition;
        add.u32 warpLast, warpFirst, 15;
        setp.lt.u32 present0, row0, tileRows;
        setp.lt.u32 present1, row1, tileRows;
        mul.wide.u32 offset, sequence, maxPages;
        shl.b64 offset, offset, 2;
        add.u64 pageTable, pageTable, offset;
        mov.f32 slope, 0f00000000;
        setp.ne.u64 hasSlope, slopes, 0;
        mul.wide.u32 offset, head, 4;
        add.u64 pointer, slopes, offset;
        @hasSlope ld.global.nc.f32 slope, [pointer];
        mul.rn.f32 slope, slope, {{PtxWriter.F32(1.4426950408889634f)}};
        div.rn.f32 slope, slope, scale;
        shr.u32 copyRow, thread, 1;
        and.b32 scratch, thread, 1;
        shl.b32 scratch, scratch, 4;
        mov.u32 copyAddress, dynamicShared;
        mad.lo.u32 copyAddress, copyRow, {{shape.Pitch}}, copyAddress;
        add.u32 copyAddress, copyAddress, scratch;
        cvt.u64.u32 offset, scratch;
        mul.wide.u32 copyOffset, copyRow, {{shape.HeadSize * 2}};
        add.u64 copyOffset, copyOffset, offset;
        and.b32 scratch, lane, 7;
        shr.u32 at, lane, 4;
        mad.lo.u32 at, at, 8, scratch;
        mul.lo.u32 keyLane, at, {{shape.Pitch}};
        shr.u32 at, lane, 3;
        and.b32 at, at, 1;
        mad.lo.u32 keyLane, at, 16, keyLane;
        mad.lo.u32 at, at, 8, scratch;
        mul.lo.u32 valueLane, at, {{shape.Pitch}};
        shr.u32 at, lane, 4;
        mad.lo.u32 valueLane, at, 16, valueLane;
        mov.u32 scratch, dynamicShared;
        add.u32 keyLane, keyLane, scratch;
        add.u32 valueLane, valueLane, scratch;
        add.u32 valueLane, valueLane, {{shape.TileBytes}};
        mov.f32 high0, {{MinusInfinity}};
        mov.f32 high1, {{MinusInfinity}};
        mov.f32 total0, 0f00000000;
        mov.f32 total1, 0f00000000;
        """);

    /// <summary>mma's A fragments of the warp's queries; zeros beyond the tile.</summary>
    private static void LoadQueries(PtxWriter ptx, PrefillAttentionPlan shape)
    {
        foreach ((string row, string present, int first) in new[] { ("row0", "present0", 0), ("row1", "present1", 1) })
        {
            ptx.Add($"""
                add.u32 scratch, firstRow, {row};
                mul.wide.u32 pointer, scratch, strideRow;
                mad.wide.u32 pointer, head, strideHead, pointer;
                cvt.u64.u32 offset, laneColumn;
                add.u64 pointer, pointer, offset;
                shl.b64 pointer, pointer, 1;
                add.u64 pointer, pointer, queries;
                """);
            for (int k = 0; k < shape.HeadSize / 16; k++)
            {
                ptx.Add($"""
                    mov.b32 q{k}_{first}, 0;
                    mov.b32 q{k}_{first + 2}, 0;
                    @{present} ld.global.b32 q{k}_{first}, [pointer+{k * 32}];
                    @{present} ld.global.b32 q{k}_{first + 2}, [pointer+{(k * 32) + 16}];
                    """);
            }
        }

        for (int n = 0; n < shape.HeadSize / 8; n++)
        {
            foreach (string o in Names($"o{n}_", 4))
            {
                ptx.Add($"mov.f32 {o}, 0f00000000;");
            }
        }
    }

    /// <summary>A page's number, for the copies of a later turn.</summary>
    private static void LookUp(PtxWriter ptx, string page, string register) => ptx.Add($"""
        mul.wide.u32 offset, {page}, 4;
        add.u64 pointer, pageTable, offset;
        ld.global.u32 {register}, [pointer];
        """);

    /// <summary>
    /// A page of keys and values on its way to shared memory: two threads per position, 16 bytes at a time. Positions that the tile does not see
    /// become zeros: what lies there in the cache may be NaN.
    /// </summary>
    private static void Copy(PtxWriter ptx, PrefillAttentionPlan shape)
    {
        ptx.Add($"""
            mul.wide.u32 pageBase, pageId, keyValueHeads;
            cvt.u64.u32 offset, keyValueHead;
            add.u64 pageBase, pageBase, offset;
            mul.lo.u64 pageBase, pageBase, {PageSize * shape.HeadSize * 2};
            add.u64 pageBase, pageBase, copyOffset;
            shl.b32 scratch, at, 6;
            add.u32 scratch, scratch, copyRow;
            setp.lt.u32 present, scratch, limit;
            selp.b32 copyBytes, 16, 0, present;
            mad.lo.u32 scratch, stage, {2 * shape.TileBytes}, copyAddress;
            """);
        foreach ((string pages, int shared) in new[] { ("keyPages", 0), ("valuePages", shape.TileBytes) })
        {
            ptx.Add($"add.u64 from, {pages}, pageBase;");
            for (int i = 0; i < shape.HeadSize / 16; i++)
            {
                ptx.Add($"cp.async.cg.shared.global [scratch+{shared + (i * 32)}], [from+{i * 32}], 16, copyBytes;");
            }
        }
    }

    private static void Mainloop(PtxWriter ptx, PrefillAttentionPlan shape)
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
            shl.b32 pageStart, page, 6;
            add.u32 pageEnd, pageStart, {PageSize - 1};
            setp.gt.u32 again, pageStart, warpLast;
            @again bra ATTENDED;
            mad.lo.u32 stageKeys, stage, {2 * shape.TileBytes}, keyLane;
            mad.lo.u32 stageValues, stage, {2 * shape.TileBytes}, valueLane;
            """);
        Scores(ptx, shape);
        Mask(ptx);
        Softmax(ptx, shape);
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

    private static void Scores(PtxWriter ptx, PrefillAttentionPlan shape)
    {
        for (int n = 0; n < ScoreTiles; n++)
        {
            foreach (string s in Names($"s{n}_", 4))
            {
                ptx.Add($"mov.f32 {s}, 0f00000000;");
            }
        }

        for (int k = 0; k < shape.HeadSize / 16; k++)
        {
            for (int n = 0; n < ScoreTiles; n += 2)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {Vector(Names("b", 4))}, [stageKeys+{(n * 8 * shape.Pitch) + (k * 32)}];")
                   .Add(Mma(Vector(Names($"s{n}_", 4)), Vector(Names($"q{k}_", 4)), "{b0, b1}"))
                   .Add(Mma(Vector(Names($"s{n + 1}_", 4)), Vector(Names($"q{k}_", 4)), "{b2, b3}"));
            }
        }
    }

    /// <summary>
    /// Lowers the scores by the slope, which is in their unit before they are scaled, and takes out what a query does not see. A page that all
    /// queries of the warp see whole needs no look.
    /// </summary>
    private static void Mask(PtxWriter ptx)
    {
        // The window reaches the page's start from the warp's last query.
        ptx.Add("""
            setp.le.u32 isFull, pageEnd, warpFirst;
            sub.u32 distance32, warpLast, pageStart;
            setp.lt.and.u32 isFull, distance32, window, isFull;
            not.pred isMasked, hasSlope;
            and.pred isFull, isFull, isMasked;
            @isFull bra MASKED;
            """);
        for (int n = 0; n < ScoreTiles; n++)
        {
            for (int i = 0; i < 4; i++)
            {
                string position = i < 2 ? "position0" : "position1";
                ptx.Add($"""
                    add.u32 at, pageStart, laneColumn;
                    add.u32 at, at, {(n * 8) + (i % 2)};
                    sub.s32 distance32, {position}, at;
                    cvt.rn.f32.s32 distance, distance32;
                    mul.rn.f32 distance, distance, slope;
                    sub.rn.f32 s{n}_{i}, s{n}_{i}, distance;
                    setp.ge.u32 isMasked, distance32, window;
                    setp.gt.or.u32 isMasked, at, {position}, isMasked;
                    @isMasked mov.f32 s{n}_{i}, {MinusInfinity};
                    """);
            }
        }

        ptx.Add("MASKED:");
    }

    private static void Softmax(PtxWriter ptx, PrefillAttentionPlan shape)
    {
        foreach (int row in new[] { 0, 1 })
        {
            ptx.Add($"mov.f32 newHigh{row}, high{row};");
            for (int n = 0; n < ScoreTiles; n++)
            {
                ptx.Add($"max.f32 newHigh{row}, newHigh{row}, s{n}_{2 * row};").Add($"max.f32 newHigh{row}, newHigh{row}, s{n}_{(2 * row) + 1};");
            }

            foreach (int distance in new[] { 1, 2 })
            {
                ptx.Add($"""
                    shfl.sync.bfly.b32 remote, newHigh{row}, {distance}, 31, 0xFFFFFFFF;
                    max.f32 newHigh{row}, newHigh{row}, remote;
                    """);
            }

            // Rounded like the maximum itself, so that a maximum that stays decays nothing: by exactly 1.
            ptx.Add($"""
                setp.eq.f32 isEmpty, newHigh{row}, {MinusInfinity};
                selp.f32 safe{row}, 0f00000000, newHigh{row}, isEmpty;
                mul.rn.f32 safe{row}, safe{row}, scale;
                neg.f32 safe{row}, safe{row};
                mul.rn.f32 decay{row}, high{row}, scale;
                add.rn.f32 decay{row}, decay{row}, safe{row};
                ex2.approx.f32 decay{row}, decay{row};
                mov.f32 high{row}, newHigh{row};
                mul.rn.f32 total{row}, total{row}, decay{row};
                """);
            for (int n = 0; n < ScoreTiles; n++)
            {
                for (int i = 2 * row; i < (2 * row) + 2; i++)
                {
                    ptx.Add($"""
                        fma.rn.f32 s{n}_{i}, s{n}_{i}, scale, safe{row};
                        ex2.approx.f32 s{n}_{i}, s{n}_{i};
                        add.rn.f32 total{row}, total{row}, s{n}_{i};
                        """);
                }
            }

            for (int n = 0; n < shape.HeadSize / 8; n++)
            {
                ptx.Add($"mul.rn.f32 o{n}_{2 * row}, o{n}_{2 * row}, decay{row};").Add($"mul.rn.f32 o{n}_{(2 * row) + 1}, o{n}_{(2 * row) + 1}, decay{row};");
            }
        }
    }

    /// <summary>Weights times values: the scores' accumulators are, rounded to f16, the A fragments of the second product.</summary>
    private static void Results(PtxWriter ptx, PrefillAttentionPlan shape)
    {
        for (int k = 0; k < PageSize / 16; k++)
        {
            ptx.Add($"""
                cvt.rn.f16x2.f32 p0, s{2 * k}_1, s{2 * k}_0;
                cvt.rn.f16x2.f32 p1, s{2 * k}_3, s{2 * k}_2;
                cvt.rn.f16x2.f32 p2, s{(2 * k) + 1}_1, s{(2 * k) + 1}_0;
                cvt.rn.f16x2.f32 p3, s{(2 * k) + 1}_3, s{(2 * k) + 1}_2;
                """);
            for (int n = 0; n < shape.HeadSize / 8; n += 2)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {Vector(Names("b", 4))}, [stageValues+{(k * 16 * shape.Pitch) + (n * 16)}];")
                   .Add(Mma(Vector(Names($"o{n}_", 4)), Vector(Names("p", 4)), "{b0, b1}"))
                   .Add(Mma(Vector(Names($"o{n + 1}_", 4)), Vector(Names("p", 4)), "{b2, b3}"));
            }
        }
    }

    private static void Finish(PtxWriter ptx, PrefillAttentionPlan shape)
    {
        foreach (int row in new[] { 0, 1 })
        {
            foreach (int distance in new[] { 1, 2 })
            {
                ptx.Add($"""
                    shfl.sync.bfly.b32 remote, total{row}, {distance}, 31, 0xFFFFFFFF;
                    add.rn.f32 total{row}, total{row}, remote;
                    """);
            }

            ptx.Add($"""
                rcp.rn.f32 total{row}, total{row};
                add.u32 scratch, firstRow, row{row};
                mul.wide.u32 pointer, scratch, outputStride;
                mad.lo.u32 scratch, head, {shape.HeadSize}, laneColumn;
                cvt.u64.u32 offset, scratch;
                add.u64 pointer, pointer, offset;
                shl.b64 pointer, pointer, 1;
                add.u64 pointer, pointer, output;
                """);
            for (int n = 0; n < shape.HeadSize / 8; n++)
            {
                ptx.Add($"""
                    mul.rn.f32 o{n}_{2 * row}, o{n}_{2 * row}, total{row};
                    mul.rn.f32 o{n}_{(2 * row) + 1}, o{n}_{(2 * row) + 1}, total{row};
                    cvt.rn.f16x2.f32 packed, o{n}_{(2 * row) + 1}, o{n}_{2 * row};
                    @present{row} st.global.b32 [pointer+{n * 16}], packed;
                    """);
            }
        }
    }
}
