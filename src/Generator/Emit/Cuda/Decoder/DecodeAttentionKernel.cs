using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Attention of one position per sequence. A block takes one part of one row's context for a few heads of queries that share a head of keys and
/// values. Groups of lanes take a position each, eight dimensions per lane, with a running maximum and sum of their own (arXiv 1805.02867); the
/// groups, then the parts, are combined in a fixed order. How a context is cut depends on its own length alone, so a row's bits do not depend on
/// the batch. The last block of a row's parts to finish combines them. An int8 cache is widened in registers. Where the cache is settled, the first page
/// is on its way while the kernel ahead still computes the query: of it, only the row's own position is new.
/// </summary>
internal static class DecodeAttentionKernel
{
    /// <summary>Partial results that a thread combines at a time.</summary>
    private const int Pieces = DecoderRow.MaxSplits;

    private const string MinusInfinity = "0fFF800000";

    public static string Emit(DecoderKernelPlan plan, DecodeAttentionPlan shape)
    {
        PtxWriter ptx = Begin<AttentionArguments>(plan, DecodeAttentionPlan.Threads);
        int width = shape.Lanes * 8;
        ptx.Add($"""
            .shared .align 16 .f32 groupSums[{shape.Queries * shape.Groups * width}];
            .shared .align 4 .f32 groupHighs[{shape.Queries * shape.Groups}];
            .shared .align 4 .f32 groupTotals[{shape.Queries * shape.Groups}];
            .shared .align 4 .b32 drawnTicket[1];
            """);
        Declare(ptx, shape);
        ptx.LaunchNext(plan);
        Arguments(ptx);
        ptx.Argument<AttentionArguments>("scratch", nameof(AttentionArguments.Settled), "u32").Add("setp.ne.u32 again, scratch, 0;").Add("@again bra SETTLED;");
        ptx.WaitForPrevious(plan).Add("SETTLED:");
        Locate(ptx, plan, shape);
        Pages(ptx, plan, shape);
        Combine(ptx, shape, width);
        return ptx.Add("LEAVE:").WaitForPrevious(plan).End();
    }

    private static void Declare(PtxWriter ptx, DecodeAttentionPlan shape)
    {
        ptx.Registers("b32", "thread", "laneInGroup", "group", "block", "split", "splits", "row", "rest", "heads", "keyValueHeads", "maxPages", "window", "outputStride", "queriesPerHead", "chunks", "chunk", "keyValueHead", "firstHead", "headCount")
           .Registers("b32", "position", "sequence", "start", "firstPage", "pageCount", "parts", "pagesPerPart", "page", "endPage", "pageId", "at", "scratch", "head", "query", "item", "ticket", "dimension", "strideRow", "strideHead", "distance32")
           .Registers("b64", "queries", "newKeys", "newValues", "positions", "sequences", "keyPages", "valuePages", "pageTable", "slopes", "output", "partials", "tickets", "pointer", "offset", "pageBase", "keyAddress", "valueAddress", "keyStepAddress", "valueStepAddress", "stepBase", "newKey", "newValue", "ticketAddress")
           .Registers("f32", "scale", "high", "newHigh", "safe", "decay", "remote", "distance", "total", "weight", "value", "sum", "slope")
           .Registers("pred", "isActive", "hasNew", "isIdle", "isOther", "waited", "again", "valid", "present", "isFirst", "hasSlopes", "writesNew", "isEmpty")
           .Registers("b16", "halfLow", "halfHigh")
           .Registers("f32", Names("x", 8))
           .Registers("f32", Names("piece", Pieces)).Registers("f32", Names("pieceHigh", Pieces)).Registers("f32", Names("pieceTotal", Pieces))
           .Registers("b32", Names("raw", 4));
        for (int pass = 0; pass < shape.Passes; pass++)
        {
            ptx.Registers("b32", Names($"key{pass}_", 4)).Registers("b32", Names($"value{pass}_", 4)).Registers("pred", $"valid{pass}").Registers("f32", $"keyStep{pass}", $"valueStep{pass}");
        }

        for (int query = 0; query < shape.Queries; query++)
        {
            ptx.Registers("f32", Names($"q{query}_", 8)).Registers("f32", Names($"sum{query}_", 8)).Registers("f32", $"high{query}", $"total{query}", $"slope{query}");
            ptx.Registers("f32", Names($"score{query}_", shape.Passes));
        }
    }

    private static void Arguments(PtxWriter ptx)
    {
        foreach ((string register, string field, string type) in new[]
        {
            ("queries", nameof(AttentionArguments.Queries), "u64"), ("newKeys", nameof(AttentionArguments.NewKeys), "u64"),
            ("newValues", nameof(AttentionArguments.NewValues), "u64"), ("positions", nameof(AttentionArguments.Positions), "u64"),
            ("sequences", nameof(AttentionArguments.Sequences), "u64"), ("keyPages", nameof(AttentionArguments.KeyPages), "u64"),
            ("valuePages", nameof(AttentionArguments.ValuePages), "u64"), ("pageTable", nameof(AttentionArguments.PageTable), "u64"),
            ("slopes", nameof(AttentionArguments.Slopes), "u64"), ("output", nameof(AttentionArguments.Output), "u64"),
            ("partials", nameof(AttentionArguments.Partials), "u64"), ("tickets", nameof(AttentionArguments.Tickets), "u64"),
            ("heads", nameof(AttentionArguments.Heads), "u32"), ("keyValueHeads", nameof(AttentionArguments.KeyValueHeads), "u32"),
            ("maxPages", nameof(AttentionArguments.MaxPages), "u32"), ("window", nameof(AttentionArguments.Window), "u32"),
            ("outputStride", nameof(AttentionArguments.OutputStride), "u32"), ("splits", nameof(AttentionArguments.Splits), "u32"),
            ("scale", nameof(AttentionArguments.Scale), "f32"),
        })
        {
            ptx.Argument<AttentionArguments>(register, field, type);
        }
    }

    /// <summary>From the block to its row, heads and run of pages; blocks beyond the row's parts leave.</summary>
    private static void Locate(PtxWriter ptx, DecoderKernelPlan plan, DecodeAttentionPlan shape)
    {
        ptx.Add($"""
            mov.u32 thread, %tid.x;
            and.b32 laneInGroup, thread, {shape.Lanes - 1};
            shr.u32 group, thread, {Log2(shape.Lanes)};
            mov.u32 block, %ctaid.x;
            div.u32 rest, block, splits;
            mul.lo.u32 scratch, rest, splits;
            sub.u32 split, block, scratch;
            div.u32 queriesPerHead, heads, keyValueHeads;
            add.u32 chunks, queriesPerHead, {shape.Queries - 1};
            div.u32 chunks, chunks, {shape.Queries};
            mul.lo.u32 scratch, keyValueHeads, chunks;
            div.u32 row, rest, scratch;
            mul.lo.u32 scratch, scratch, row;
            sub.u32 rest, rest, scratch;
            div.u32 keyValueHead, rest, chunks;
            mul.lo.u32 scratch, keyValueHead, chunks;
            sub.u32 chunk, rest, scratch;
            mul.lo.u32 scratch, chunk, {shape.Queries};
            mad.lo.u32 firstHead, keyValueHead, queriesPerHead, scratch;
            sub.u32 headCount, queriesPerHead, scratch;
            min.u32 headCount, headCount, {shape.Queries};
            mul.wide.u32 offset, row, 4;
            add.u64 positions, positions, offset;
            ld.global.u32 position, [positions];
            add.u64 sequences, sequences, offset;
            ld.global.u32 sequence, [sequences];
            mul.wide.u32 pointer, row, outputStride;
            shl.b64 pointer, pointer, 1;
            add.u64 output, output, pointer;
            setp.ne.u32 isActive, position, 0x{DecoderRow.Inactive:X8};
            @isActive bra ACTIVE;
            setp.ne.u32 again, split, 0;
            @again bra LEAVE;
            """);

        // What was in the output may still be read.
        ptx.WaitForPrevious(plan).Add($"""
            mov.u32 query, 0;
            mov.b16 halfLow, 0;
            setp.ge.u32 isIdle, thread, {shape.HeadSize};
            CLEAR:
            setp.ge.u32 again, query, headCount;
            @again bra DONE;
            add.u32 head, firstHead, query;
            mad.lo.u32 item, head, {shape.HeadSize}, thread;
            mul.wide.u32 offset, item, 2;
            add.u64 pointer, output, offset;
            @!isIdle st.global.b16 [pointer], halfLow;
            add.u32 query, query, 1;
            bra CLEAR;
            ACTIVE:
            add.u32 scratch, position, 1;
            sub.u32 start, scratch, window;
            setp.gt.u32 again, window, scratch;
            @again mov.u32 start, 0;
            shr.u32 firstPage, start, 6;
            shr.u32 pageCount, position, 6;
            sub.u32 pageCount, pageCount, firstPage;
            add.u32 pageCount, pageCount, 1;
            min.u32 parts, pageCount, {DecoderRow.MaxSplits};
            add.u32 pagesPerPart, pageCount, parts;
            sub.u32 pagesPerPart, pagesPerPart, 1;
            div.u32 pagesPerPart, pagesPerPart, parts;
            add.u32 parts, pageCount, pagesPerPart;
            sub.u32 parts, parts, 1;
            div.u32 parts, parts, pagesPerPart;
            setp.ge.u32 again, split, parts;
            @again bra LEAVE;
            add.u32 endPage, firstPage, pageCount;
            mad.lo.u32 page, split, pagesPerPart, firstPage;
            add.u32 scratch, page, pagesPerPart;
            min.u32 endPage, endPage, scratch;
            mul.wide.u32 offset, sequence, maxPages;
            shl.b64 offset, offset, 2;
            add.u64 pageTable, pageTable, offset;
            setp.ne.u64 hasNew, newKeys, 0;
            setp.ne.u64 hasSlopes, slopes, 0;
            setp.eq.u32 writesNew, chunk, 0;
            shl.b32 dimension, laneInGroup, 3;
            setp.ge.u32 isIdle, dimension, {shape.HeadSize};
            """);
        NewAddress(ptx, "newKey", "newKeys", nameof(AttentionArguments.KeyRowStride), nameof(AttentionArguments.KeyHeadStride));
        NewAddress(ptx, "newValue", "newValues", nameof(AttentionArguments.ValueRowStride), nameof(AttentionArguments.ValueHeadStride));
    }

    /// <summary>This lane's eight values of the row's own key or value.</summary>
    private static void NewAddress(PtxWriter ptx, string register, string source, string rowStride, string headStride) => ptx
        .Argument<AttentionArguments>("strideRow", rowStride, "u32")
        .Argument<AttentionArguments>("strideHead", headStride, "u32")
        .Add($"""
            mul.wide.u32 {register}, row, strideRow;
            mad.wide.u32 {register}, keyValueHead, strideHead, {register};
            cvt.u64.u32 offset, dimension;
            add.u64 {register}, {register}, offset;
            shl.b64 {register}, {register}, 1;
            add.u64 {register}, {register}, {source};
            """);

    private static void Queries(PtxWriter ptx, DecodeAttentionPlan shape)
    {
        ptx.Argument<AttentionArguments>("strideRow", nameof(AttentionArguments.QueryRowStride), "u32")
           .Argument<AttentionArguments>("strideHead", nameof(AttentionArguments.QueryHeadStride), "u32");
        for (int query = 0; query < shape.Queries; query++)
        {
            string[] q = Names($"q{query}_", 8);
            ptx.Add($$"""
                add.u32 head, firstHead, {{query}};
                setp.gt.u32 present, headCount, {{query}};
                mul.wide.u32 pointer, row, strideRow;
                mad.wide.u32 pointer, head, strideHead, pointer;
                cvt.u64.u32 offset, dimension;
                add.u64 pointer, pointer, offset;
                shl.b64 pointer, pointer, 1;
                add.u64 pointer, pointer, queries;
                mov.f32 slope{{query}}, 0f00000000;
                mul.wide.u32 offset, head, 4;
                add.u64 offset, offset, slopes;
                and.pred again, present, hasSlopes;
                @again ld.global.nc.f32 slope{{query}}, [offset];
                mul.rn.f32 slope{{query}}, slope{{query}}, {{PtxWriter.F32(1.4426950408889634f)}};
                mov.b32 raw0, 0;
                mov.b32 raw1, 0;
                mov.b32 raw2, 0;
                mov.b32 raw3, 0;
                @isIdle setp.ne.u32 present, headCount, headCount;
                @present ld.global.v4.b32 {raw0, raw1, raw2, raw3}, [pointer];
                mov.f32 high{{query}}, {{MinusInfinity}};
                mov.f32 total{{query}}, 0f00000000;
                """).Widen(Names("raw", 4), q);
            foreach (string x in q)
            {
                ptx.Add($"mul.rn.f32 {x}, {x}, scale;");
            }

            foreach (string sum in Names($"sum{query}_", 8))
            {
                ptx.Add($"mov.f32 {sum}, 0f00000000;");
            }
        }
    }

    private static void Pages(PtxWriter ptx, DecoderKernelPlan plan, DecodeAttentionPlan shape)
    {
        int pageValues = DecoderRow.PageSize * shape.HeadSize;
        ptx.Add($"""
            setp.ne.u32 waited, thread, thread;
            PAGE:
            mul.wide.u32 offset, page, 4;
            add.u64 pointer, pageTable, offset;
            ld.global.u32 pageId, [pointer];
            mul.wide.u32 pageBase, pageId, keyValueHeads;
            cvt.u64.u32 offset, keyValueHead;
            add.u64 pageBase, pageBase, offset;
            shl.b64 stepBase, pageBase, {Log2(DecoderRow.PageSize)};
            mul.lo.u64 pageBase, pageBase, {pageValues * shape.ValueBytes};
            mad.lo.u32 scratch, group, {shape.HeadSize}, dimension;
            mul.wide.u32 offset, scratch, {shape.ValueBytes};
            add.u64 pageBase, pageBase, offset;
            add.u64 keyAddress, keyPages, pageBase;
            add.u64 valueAddress, valuePages, pageBase;
            shl.b32 at, page, 6;
            add.u32 at, at, group;
            """);
        if (shape.Int8Cache)
        {
            ptx.Argument<AttentionArguments>("keyStepAddress", nameof(AttentionArguments.KeySteps), "u64")
               .Argument<AttentionArguments>("valueStepAddress", nameof(AttentionArguments.ValueSteps), "u64")
               .Add("""
                cvt.u64.u32 offset, group;
                add.u64 stepBase, stepBase, offset;
                shl.b64 stepBase, stepBase, 2;
                add.u64 keyStepAddress, keyStepAddress, stepBase;
                add.u64 valueStepAddress, valueStepAddress, stepBase;
                """);
        }

        foreach (string kind in new[] { "key", "value" })
        {
            for (int pass = 0; pass < shape.Passes; pass++)
            {
                LoadCached(ptx, shape, pass, kind);
            }
        }

        // Nothing to wait for but at the first page.
        ptx.WaitForPrevious(plan).Add("@waited bra WAITED;").Add("setp.eq.u32 waited, thread, thread;");
        Queries(ptx, shape);
        ptx.Add("WAITED:");
        for (int pass = 0; pass < shape.Passes; pass++)
        {
            LoadOwn(ptx, shape, pass);
        }

        Scores(ptx, shape);
        for (int query = 0; query < shape.Queries; query++)
        {
            Softmax(ptx, shape, query);
        }

        for (int pass = 0; pass < shape.Passes; pass++)
        {
            Widen(ptx, shape, "value", pass);
            for (int query = 0; query < shape.Queries; query++)
            {
                for (int i = 0; i < 8; i++)
                {
                    ptx.Add($"fma.rn.f32 sum{query}_{i}, score{query}_{pass}, x{i}, sum{query}_{i};");
                }
            }
        }

        ptx.Add("""
            add.u32 page, page, 1;
            setp.lt.u32 again, page, endPage;
            @again bra PAGE;
            """);
    }

    /// <summary>Eight dimensions of an earlier position's key or value, zeros beyond the part's ends.</summary>
    private static void LoadCached(PtxWriter ptx, DecodeAttentionPlan shape, int pass, string kind)
    {
        foreach (string register in Names($"{kind}{pass}_", 4))
        {
            ptx.Add($"mov.b32 {register}, 0;");
        }

        ptx.Add($"""
            add.u32 scratch, at, {pass * shape.Groups};
            setp.ge.u32 valid{pass}, scratch, start;
            setp.le.and.u32 valid{pass}, scratch, position, valid{pass};
            not.pred present, isIdle;
            and.pred present, present, valid{pass};
            setp.ne.and.u32 present, scratch, position, present;
            {(shape.Int8Cache ? $"mov.f32 {kind}Step{pass}, 0f00000000;" : "")}
            """);
        ReadCache(ptx, shape, pass, kind);
    }

    /// <summary>The row's own position, which comes from the projection and goes to the cache, or is there already.</summary>
    private static void LoadOwn(PtxWriter ptx, DecodeAttentionPlan shape, int pass)
    {
        string done = ptx.Label("OWN_LOADED"), cached = ptx.Label("OWN_CACHED");
        ptx.Add($"""
            add.u32 scratch, at, {pass * shape.Groups};
            setp.ne.u32 isOther, scratch, position;
            or.pred isOther, isOther, isIdle;
            @isOther bra {done};
            setp.eq.u32 present, scratch, position;
            """);
        if (!shape.Int8Cache)
        {
            int offset = pass * shape.Groups * shape.HeadSize * shape.ValueBytes;
            string key = Vector(Names($"key{pass}_", 4)), value = Vector(Names($"value{pass}_", 4));
            ptx.Add($"""
                @!hasNew bra {cached};
                ld.global.v4.b32 {key}, [newKey];
                ld.global.v4.b32 {value}, [newValue];
                @writesNew st.global.v4.b32 [keyAddress+{offset}], {key};
                @writesNew st.global.v4.b32 [valueAddress+{offset}], {value};
                bra {done};
                {cached}:
                """);
        }

        ReadCache(ptx, shape, pass, "key");
        ReadCache(ptx, shape, pass, "value");
        ptx.Add($"{done}:");
    }

    /// <summary>Eight dimensions of a key or value from the cache, if <c>present</c>.</summary>
    private static void ReadCache(PtxWriter ptx, DecodeAttentionPlan shape, int pass, string kind)
    {
        int offset = pass * shape.Groups * shape.HeadSize * shape.ValueBytes;
        ptx.Add(shape.Int8Cache
            ? $$"""
                @present ld.global.v2.b32 {{{kind}}{{pass}}_0, {{kind}}{{pass}}_1}, [{{kind}}Address+{{offset}}];
                @present ld.global.f32 {{kind}}Step{{pass}}, [{{kind}}StepAddress+{{pass * shape.Groups * sizeof(float)}}];
                """
            : $"@present ld.global.v4.b32 {Vector(Names($"{kind}{pass}_", 4))}, [{kind}Address+{offset}];");
    }

    /// <summary>Eight dimensions of a key or value to x.</summary>
    private static void Widen(PtxWriter ptx, DecodeAttentionPlan shape, string kind, int pass)
    {
        if (!shape.Int8Cache)
        {
            ptx.Widen(Names($"{kind}{pass}_", 4), Names("x", 8));
            return;
        }

        for (int i = 0; i < 8; i++)
        {
            ptx.Add($"""
                bfe.s32 scratch, {kind}{pass}_{i / 4}, {i % 4 * 8}, 8;
                cvt.rn.f32.s32 x{i}, scratch;
                mul.rn.f32 x{i}, x{i}, {kind}Step{pass};
                """);
        }
    }

    private static void Scores(PtxWriter ptx, DecodeAttentionPlan shape)
    {
        for (int pass = 0; pass < shape.Passes; pass++)
        {
            Widen(ptx, shape, "key", pass);
            for (int query = 0; query < shape.Queries; query++)
            {
                string score = $"score{query}_{pass}";
                ptx.Add($"mul.rn.f32 {score}, q{query}_0, x0;");
                for (int i = 1; i < 8; i++)
                {
                    ptx.Add($"fma.rn.f32 {score}, q{query}_{i}, x{i}, {score};");
                }

                for (int distance = shape.Lanes / 2; distance > 0; distance /= 2)
                {
                    ptx.Add($"""
                        shfl.sync.bfly.b32 remote, {score}, {distance}, 31, 0xFFFFFFFF;
                        add.rn.f32 {score}, {score}, remote;
                        """);
                }
            }
        }
    }

    /// <summary>Scores become weights relative to the group's running maximum; sums so far are scaled down where it grew.</summary>
    private static void Softmax(PtxWriter ptx, DecodeAttentionPlan shape, int query)
    {
        ptx.Add($"mov.f32 newHigh, high{query};");
        for (int pass = 0; pass < shape.Passes; pass++)
        {
            ptx.Add($"""
                add.u32 scratch, at, {pass * shape.Groups};
                sub.u32 distance32, position, scratch;
                cvt.rn.f32.u32 distance, distance32;
                mul.rn.f32 distance, distance, slope{query};
                sub.rn.f32 score{query}_{pass}, score{query}_{pass}, distance;
                @!valid{pass} mov.f32 score{query}_{pass}, {MinusInfinity};
                max.f32 newHigh, newHigh, score{query}_{pass};
                """);
        }

        // A group that has seen no position yet has no maximum to subtract.
        ptx.Add($"""
            setp.eq.f32 isEmpty, newHigh, {MinusInfinity};
            selp.f32 safe, 0f00000000, newHigh, isEmpty;
            sub.rn.f32 decay, high{query}, safe;
            ex2.approx.f32 decay, decay;
            mov.f32 high{query}, newHigh;
            mul.rn.f32 total{query}, total{query}, decay;
            """);
        for (int pass = 0; pass < shape.Passes; pass++)
        {
            ptx.Add($"""
                sub.rn.f32 score{query}_{pass}, score{query}_{pass}, safe;
                ex2.approx.f32 score{query}_{pass}, score{query}_{pass};
                add.rn.f32 total{query}, total{query}, score{query}_{pass};
                """);
        }

        foreach (string sum in Names($"sum{query}_", 8))
        {
            ptx.Add($"mul.rn.f32 {sum}, {sum}, decay;");
        }
    }

    /// <summary>The groups of this block, then, by the last block of the row's parts, the parts.</summary>
    private static void Combine(PtxWriter ptx, DecodeAttentionPlan shape, int width)
    {
        int stride = shape.HeadSize + 2;
        for (int query = 0; query < shape.Queries; query++)
        {
            string[] sums = Names($"sum{query}_", 8);
            ptx.Add($"""
                mad.lo.u32 scratch, group, {width}, dimension;
                shl.b32 scratch, scratch, 2;
                mov.u32 item, groupSums;
                add.u32 scratch, scratch, item;
                st.shared.v4.f32 [scratch+{query * shape.Groups * width * 4}], {Vector(sums.Take(4).ToArray())};
                st.shared.v4.f32 [scratch+{(query * shape.Groups * width * 4) + 16}], {Vector(sums.Skip(4).ToArray())};
                setp.eq.u32 isFirst, laneInGroup, 0;
                shl.b32 scratch, group, 2;
                mov.u32 item, groupHighs;
                add.u32 item, item, scratch;
                @isFirst st.shared.f32 [item+{query * shape.Groups * 4}], high{query};
                mov.u32 item, groupTotals;
                add.u32 item, item, scratch;
                @isFirst st.shared.f32 [item+{query * shape.Groups * 4}], total{query};
                """);
        }

        ptx.Add($"""
            bar.sync 0;
            mov.u32 query, 0;
            mad.lo.u32 scratch, row, heads, firstHead;
            mul.wide.u32 offset, scratch, 4;
            add.u64 ticketAddress, tickets, offset;
            mul.wide.u32 offset, scratch, {DecoderRow.MaxSplits * stride * 4};
            add.u64 partials, partials, offset;
            GROUPS_OF_QUERY:
            setp.ge.u32 again, query, headCount;
            @again bra GROUPS_COMBINED;
            mul.lo.u32 item, query, {shape.Groups * 4};
            """);
        CombineGroups(ptx, shape, width);
        ptx.Add($"""
            setp.ne.u32 again, parts, 1;
            @again bra STORE_PART;
            """);
        StoreOutput(ptx, shape);
        ptx.Add($"""
            bra NEXT_QUERY;
            STORE_PART:
            mad.lo.u32 scratch, query, {DecoderRow.MaxSplits}, split;
            mul.wide.u32 offset, scratch, {stride * 4};
            add.u64 pointer, partials, offset;
            mul.wide.u32 offset, thread, 4;
            add.u64 offset, pointer, offset;
            setp.lt.u32 present, thread, {shape.HeadSize};
            @present st.global.f32 [offset], sum;
            setp.eq.u32 isFirst, thread, 0;
            @isFirst st.global.f32 [pointer+{shape.HeadSize * 4}], high;
            @isFirst st.global.f32 [pointer+{(shape.HeadSize + 1) * 4}], total;
            NEXT_QUERY:
            add.u32 query, query, 1;
            bra GROUPS_OF_QUERY;
            GROUPS_COMBINED:
            setp.eq.u32 again, parts, 1;
            @again bra DONE;
            bar.sync 0;
            setp.eq.u32 isFirst, thread, 0;
            @isFirst fence.acq_rel.gpu;
            @isFirst atom.acq_rel.gpu.global.add.u32 ticket, [ticketAddress], 1;
            @isFirst st.shared.b32 [drawnTicket], ticket;
            bar.sync 0;
            ld.shared.b32 ticket, [drawnTicket];
            add.u32 ticket, ticket, 1;
            setp.ne.u32 again, ticket, parts;
            @again bra DONE;
            @isFirst st.global.u32 [ticketAddress], 0;
            mov.u32 query, 0;
            PARTS_OF_QUERY:
            setp.ge.u32 again, query, headCount;
            @again bra DONE;
            """);
        CombineParts(ptx, shape, stride);
        StoreOutput(ptx, shape);
        ptx.Add("""
            add.u32 query, query, 1;
            bra PARTS_OF_QUERY;
            """);
    }

    /// <summary>high, total and this thread's dimension in sum, over the block's groups: all loads first, so that they take one latency.</summary>
    private static void CombineGroups(PtxWriter ptx, DecodeAttentionPlan shape, int width)
    {
        ptx.Add($"""
            mov.u32 at, groupHighs;
            add.u32 at, at, item;
            mov.u32 head, groupTotals;
            add.u32 head, head, item;
            mul.lo.u32 rest, item, {width};
            shl.b32 scratch, thread, 2;
            add.u32 rest, rest, scratch;
            mov.u32 scratch, groupSums;
            add.u32 rest, rest, scratch;
            setp.lt.u32 present, thread, {width};
            """);
        Start(ptx);
        for (int first = 0; first < shape.Groups; first += Pieces)
        {
            int count = System.Math.Min(Pieces, shape.Groups - first);
            for (int i = 0; i < count; i++)
            {
                ptx.Add($"""
                    ld.shared.f32 pieceHigh{i}, [at+{(first + i) * 4}];
                    ld.shared.f32 pieceTotal{i}, [head+{(first + i) * 4}];
                    mov.f32 piece{i}, 0f00000000;
                    @present ld.shared.f32 piece{i}, [rest+{(first + i) * width * 4}];
                    """);
            }

            Merge(ptx, count);
        }
    }

    /// <summary>The same over the parts, which other blocks wrote.</summary>
    private static void CombineParts(PtxWriter ptx, DecodeAttentionPlan shape, int stride)
    {
        ptx.Add($"""
            mul.wide.u32 offset, query, {DecoderRow.MaxSplits * stride * 4};
            add.u64 pointer, partials, offset;
            mul.wide.u32 offset, thread, 4;
            add.u64 offset, pointer, offset;
            setp.lt.u32 present, thread, {shape.HeadSize};
            """);
        Start(ptx);
        for (int i = 0; i < DecoderRow.MaxSplits; i++)
        {
            ptx.Add($"""
                setp.gt.u32 again, parts, {i};
                mov.f32 pieceHigh{i}, {MinusInfinity};
                mov.f32 pieceTotal{i}, 0f00000000;
                mov.f32 piece{i}, 0f00000000;
                @again ld.relaxed.gpu.global.f32 pieceHigh{i}, [pointer+{((i * stride) + shape.HeadSize) * 4}];
                @again ld.relaxed.gpu.global.f32 pieceTotal{i}, [pointer+{((i * stride) + shape.HeadSize + 1) * 4}];
                and.pred again, again, present;
                @again ld.relaxed.gpu.global.f32 piece{i}, [offset+{i * stride * 4}];
                """);
        }

        Merge(ptx, DecoderRow.MaxSplits);
    }

    private static void Start(PtxWriter ptx) => ptx.Add($"""
        mov.f32 high, {MinusInfinity};
        mov.f32 total, 0f00000000;
        mov.f32 sum, 0f00000000;
        """);

    /// <summary>Pieces in registers join high, total and sum, in their order. One that is not there weighs nothing.</summary>
    private static void Merge(PtxWriter ptx, int count)
    {
        ptx.Add("mov.f32 newHigh, high;");
        for (int i = 0; i < count; i++)
        {
            ptx.Add($"max.f32 newHigh, newHigh, pieceHigh{i};");
        }

        ptx.Add($"""
            setp.eq.f32 isEmpty, newHigh, {MinusInfinity};
            selp.f32 safe, 0f00000000, newHigh, isEmpty;
            sub.rn.f32 decay, high, safe;
            ex2.approx.f32 decay, decay;
            mov.f32 high, newHigh;
            mul.rn.f32 total, total, decay;
            mul.rn.f32 sum, sum, decay;
            """);
        for (int i = 0; i < count; i++)
        {
            ptx.Add($"""
                sub.rn.f32 weight, pieceHigh{i}, safe;
                ex2.approx.f32 weight, weight;
                fma.rn.f32 total, pieceTotal{i}, weight, total;
                fma.rn.f32 sum, piece{i}, weight, sum;
                """);
        }
    }

    private static void StoreOutput(PtxWriter ptx, DecodeAttentionPlan shape) => ptx.Add($"""
        div.rn.f32 value, sum, total;
        cvt.rn.f16.f32 halfLow, value;
        add.u32 head, firstHead, query;
        mad.lo.u32 scratch, head, {shape.HeadSize}, thread;
        mul.wide.u32 offset, scratch, 2;
        add.u64 pointer, output, offset;
        setp.lt.u32 present, thread, {shape.HeadSize};
        @present st.global.b16 [pointer], halfLow;
        """);

    private static int Log2(int value)
    {
        int result = 0;
        while (1 << result < value)
        {
            result++;
        }

        return result;
    }
}
