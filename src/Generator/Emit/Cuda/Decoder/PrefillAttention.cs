using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// What both prefill kernels do with fragments in registers (Dao, arXiv 2307.08691): every warp holds 16 queries and their results, scores of a page live in
/// registers between the two products. The accumulators of mma and wgmma are laid out alike. Pages lie at multiples of 64 positions whatever the tile, and a page or position beyond a
/// query changes none of its bits: it adds exact zeros.
/// </summary>
internal static class PrefillAttention
{
    public const int PageSize = DecoderRow.PageSize, ScoreTiles = PageSize / 8, WeightSteps = PageSize / 16;

    private const string MinusInfinity = "0fFF800000";

    /// <summary>The scores of a page: 8 columns each, four to a thread.</summary>
    public static string[] Scores { get; } = Enumerable.Range(0, ScoreTiles).SelectMany(n => Names($"s{n}_", 4)).ToArray();

    /// <summary>The results so far, likewise.</summary>
    public static string[] Results(int headSize) => Enumerable.Range(0, headSize / 8).SelectMany(n => Names($"o{n}_", 4)).ToArray();

    public static void Declare(PtxWriter ptx, int headSize)
    {
        ptx.Registers("b32", "thread", "warp", "lane", "laneRow", "laneColumn", "block", "heads", "keyValueHeads", "maxPages", "window", "outputStride", "strideRow", "strideHead", "head", "keyValueHead", "tile", "firstRow", "tileRows", "sequence", "firstPosition")
           .Registers("b32", "limit", "page", "lastPage", "scratch", "row0", "row1", "position0", "position1", "warpFirst", "warpLast", "at", "pageStart", "pageEnd", "distance32", "packed")
           .Registers("b64", "queries", "tiles", "pageTable", "slopes", "output", "pointer", "offset")
           .Registers("f32", "scale", "slope", "high0", "high1", "newHigh0", "newHigh1", "safe0", "safe1", "decay0", "decay1", "total0", "total1", "remote", "distance")
           .Registers("pred", "again", "present0", "present1", "isMasked", "hasSlope", "isEmpty", "isFull")
           .Registers("b32", Enumerable.Range(0, headSize / 16).SelectMany(k => Names($"q{k}_", 4)).ToArray())
           .Registers("b32", Enumerable.Range(0, WeightSteps).SelectMany(k => Names($"p{k}_", 4)).ToArray())
           .Registers("f32", Scores)
           .Registers("f32", Results(headSize));
    }

    public static void Arguments(PtxWriter ptx)
    {
        foreach ((string register, string field, string type) in new[]
        {
            ("queries", nameof(AttentionArguments.Queries), "u64"), ("tiles", nameof(AttentionArguments.Tiles), "u64"),
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

    /// <summary>The block's tile and head, the pages that its queries see, and the thread's two queries. A block whose tile is empty ends.</summary>
    public static void Locate(PtxWriter ptx) => ptx.Add($$"""
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
        mov.f32 high0, {{MinusInfinity}};
        mov.f32 high1, {{MinusInfinity}};
        mov.f32 total0, 0f00000000;
        mov.f32 total1, 0f00000000;
        """);

    /// <summary>A fragments of the warp's queries, zeros beyond the tile; and no results yet.</summary>
    public static void LoadQueries(PtxWriter ptx, int headSize)
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
            for (int k = 0; k < headSize / 16; k++)
            {
                ptx.Add($"""
                    mov.b32 q{k}_{first}, 0;
                    mov.b32 q{k}_{first + 2}, 0;
                    @{present} ld.global.b32 q{k}_{first}, [pointer+{k * 32}];
                    @{present} ld.global.b32 q{k}_{first + 2}, [pointer+{(k * 32) + 16}];
                    """);
            }
        }

        foreach (string result in Results(headSize))
        {
            ptx.Add($"mov.f32 {result}, 0f00000000;");
        }
    }

    /// <summary>
    /// Lowers the scores by the slope, which is in their unit before they are scaled, and takes out what a query does not see. A page that all
    /// queries of the warp see whole needs no look.
    /// </summary>
    public static void Mask(PtxWriter ptx)
    {
        // The window reaches the page's start from the warp's last query.
        string masked = ptx.Label("MASKED");
        ptx.Add($"""
            shl.b32 pageStart, page, 6;
            add.u32 pageEnd, pageStart, {PageSize - 1};
            setp.le.u32 isFull, pageEnd, warpFirst;
            sub.u32 distance32, warpLast, pageStart;
            setp.lt.and.u32 isFull, distance32, window, isFull;
            not.pred isMasked, hasSlope;
            and.pred isFull, isFull, isMasked;
            @isFull bra {masked};
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

        ptx.Add($"{masked}:");
    }

    /// <summary>Scores to weights under the largest score so far, their sum, and what the sums before have to be multiplied by.</summary>
    public static void Softmax(PtxWriter ptx)
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
        }
    }

    /// <summary>The results so far under the new largest score.</summary>
    public static void Decay(PtxWriter ptx, int headSize)
    {
        foreach (int row in new[] { 0, 1 })
        {
            for (int n = 0; n < headSize / 8; n++)
            {
                ptx.Add($"mul.rn.f32 o{n}_{2 * row}, o{n}_{2 * row}, decay{row};").Add($"mul.rn.f32 o{n}_{(2 * row) + 1}, o{n}_{(2 * row) + 1}, decay{row};");
            }
        }
    }

    /// <summary>The scores' accumulators are, rounded to f16, the A fragments of the product of weights and values.</summary>
    public static void RoundWeights(PtxWriter ptx)
    {
        for (int k = 0; k < WeightSteps; k++)
        {
            ptx.Narrow([.. Names($"s{2 * k}_", 4), .. Names($"s{(2 * k) + 1}_", 4)], Names($"p{k}_", 4));
        }
    }

    /// <summary>Divides by the sums of the weights and stores the results of the queries that there are.</summary>
    public static void Finish(PtxWriter ptx, int headSize)
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
                mad.lo.u32 scratch, head, {headSize}, laneColumn;
                cvt.u64.u32 offset, scratch;
                add.u64 pointer, pointer, offset;
                shl.b64 pointer, pointer, 1;
                add.u64 pointer, pointer, output;
                """);
            for (int n = 0; n < headSize / 8; n++)
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
