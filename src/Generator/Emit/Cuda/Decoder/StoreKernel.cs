using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Turns queries and keys (arXiv 2104.09864) and writes keys and values to the cache. A thread takes eight dimensions of a head; where they are the left
/// ones of pairs it takes the right ones too, so that a row can be turned in place. Several blocks share a row.
/// </summary>
internal static class StoreKernel
{
    public const int Threads = 256;

    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = Begin<StoreArguments>(plan, Threads);
        ptx.Registers("b32", "thread", "row", "blocks", "item", "items", "pieces", "heads", "keyValueHeads", "headSize", "pairs", "maxPages", "head", "kind", "position", "sequence", "page", "pageId", "slot", "dimension", "scratch", "strideRow", "strideHead", "pair", "last")
           .Registers("b64", "queries", "keys", "values", "positions", "sequences", "table", "keyPages", "valuePages", "pageTable", "pointer", "offset", "source", "target", "angles", "rightSource", "rightTarget")
           .Registers("b16", "halfLow", "halfHigh", "halfValue")
           .Registers("f32", "left", "right", "cosine", "sine", "turnedLeft", "turnedRight")
           .Registers("f32", Names("x", 8)).Registers("f32", Names("y", 8)).Registers("f32", Names("cos", 8)).Registers("f32", Names("sin", 8))
           .Registers("f32", Names("u", 8)).Registers("f32", Names("v", 8))
           .Registers("b32", Names("raw", 4)).Registers("b32", Names("other", 4))
           .Registers("pred", "again", "isQuery", "isValue", "turns", "whole", "isLeft", "isRight")
           .LaunchNext(plan);
        foreach ((string register, string field, string type) in new[]
        {
            ("queries", nameof(StoreArguments.Queries), "u64"), ("keys", nameof(StoreArguments.Keys), "u64"), ("values", nameof(StoreArguments.Values), "u64"),
            ("positions", nameof(StoreArguments.Positions), "u64"), ("sequences", nameof(StoreArguments.Sequences), "u64"), ("table", nameof(StoreArguments.RotaryTable), "u64"),
            ("keyPages", nameof(StoreArguments.KeyPages), "u64"), ("valuePages", nameof(StoreArguments.ValuePages), "u64"), ("pageTable", nameof(StoreArguments.PageTable), "u64"),
            ("heads", nameof(StoreArguments.Heads), "u32"), ("keyValueHeads", nameof(StoreArguments.KeyValueHeads), "u32"), ("headSize", nameof(StoreArguments.HeadSize), "u32"),
            ("pairs", nameof(StoreArguments.Pairs), "u32"), ("maxPages", nameof(StoreArguments.MaxPages), "u32"),
        })
        {
            ptx.Argument<StoreArguments>(register, field, type);
        }

        ptx.Add($"""
            mov.u32 thread, %tid.x;
            shr.u32 pieces, headSize, 3;
            mad.lo.u32 items, keyValueHeads, 2, heads;
            mul.lo.u32 items, items, pieces;
            add.u32 blocks, items, {Threads - 1};
            shr.u32 blocks, blocks, 8;
            mov.u32 item, %ctaid.x;
            div.u32 row, item, blocks;
            mul.lo.u32 scratch, row, blocks;
            sub.u32 item, item, scratch;
            shl.b32 item, item, 8;
            add.u32 item, item, thread;
            """).WaitForPrevious(plan).Add($$"""
            setp.ge.u32 again, item, items;
            @again bra DONE;
            mul.wide.u32 offset, row, 4;
            add.u64 positions, positions, offset;
            ld.global.u32 position, [positions];
            add.u64 sequences, sequences, offset;
            ld.global.u32 sequence, [sequences];
            setp.eq.u32 again, position, 0x{{DecoderRow.Inactive:X8}};
            @again bra DONE;
            div.u32 head, item, pieces;
            mul.lo.u32 scratch, head, pieces;
            sub.u32 dimension, item, scratch;
            shl.b32 dimension, dimension, 3;
            setp.lt.u32 isQuery, head, heads;
            setp.ne.u64 turns, table, 0;
            @!isQuery sub.u32 head, head, heads;
            setp.ge.u32 isValue, head, keyValueHeads;
            not.pred again, isQuery;
            and.pred isValue, isValue, again;
            @isValue sub.u32 head, head, keyValueHeads;
            not.pred again, isValue;
            and.pred turns, turns, again;
            shl.b32 scratch, pairs, 1;
            setp.lt.and.u32 turns, dimension, scratch, turns;
            not.pred again, turns;
            and.pred again, again, isQuery;
            @again bra DONE;
            mov.u64 source, queries;
            """)
           .Argument<StoreArguments>("strideRow", nameof(StoreArguments.QueryRowStride), "u32")
           .Argument<StoreArguments>("strideHead", nameof(StoreArguments.QueryHeadStride), "u32")
           .Add("""
            @isQuery bra SOURCE;
            mov.u64 source, keys;
            mov.u64 target, keyPages;
            """)
           .Argument<StoreArguments>("strideRow", nameof(StoreArguments.KeyRowStride), "u32")
           .Argument<StoreArguments>("strideHead", nameof(StoreArguments.KeyHeadStride), "u32")
           .Add("""
            @!isValue bra SOURCE;
            mov.u64 source, values;
            mov.u64 target, valuePages;
            """)
           .Argument<StoreArguments>("strideRow", nameof(StoreArguments.ValueRowStride), "u32")
           .Argument<StoreArguments>("strideHead", nameof(StoreArguments.ValueHeadStride), "u32")
           .Add("""
            SOURCE:
            mul.wide.u32 pointer, row, strideRow;
            mad.wide.u32 pointer, head, strideHead, pointer;
            shl.b64 pointer, pointer, 1;
            add.u64 source, source, pointer;
            @isQuery mov.u64 target, source;
            @isQuery bra TARGET;
            shr.u32 page, position, 6;
            mul.wide.u32 offset, sequence, maxPages;
            cvt.u64.u32 pointer, page;
            add.u64 offset, offset, pointer;
            shl.b64 offset, offset, 2;
            add.u64 pointer, pageTable, offset;
            ld.global.u32 pageId, [pointer];
            and.b32 slot, position, 63;
            mul.wide.u32 pointer, pageId, keyValueHeads;
            cvt.u64.u32 offset, head;
            add.u64 pointer, pointer, offset;
            shl.b64 pointer, pointer, 6;
            cvt.u64.u32 offset, slot;
            add.u64 pointer, pointer, offset;
            cvt.u64.u32 offset, headSize;
            mul.lo.u64 pointer, pointer, offset;
            shl.b64 pointer, pointer, 1;
            add.u64 target, target, pointer;
            TARGET:
            mul.wide.u32 offset, dimension, 2;
            add.u64 source, source, offset;
            add.u64 target, target, offset;
            @turns bra TURN;
            ld.global.v4.b32 {raw0, raw1, raw2, raw3}, [source];
            st.global.v4.b32 [target], {raw0, raw1, raw2, raw3};
            bra DONE;
            TURN:
            mul.wide.u32 angles, position, pairs;
            shl.b64 angles, angles, 3;
            add.u64 angles, angles, table;
            mul.wide.u32 offset, dimension, 8;
            add.u64 angles, angles, offset;
            mul.wide.u32 offset, pairs, 2;
            add.u64 rightSource, source, offset;
            add.u64 rightTarget, target, offset;
            and.b32 scratch, pairs, 7;
            setp.eq.u32 whole, scratch, 0;
            @!whole bra ONE_BY_ONE;
            setp.ge.u32 again, dimension, pairs;
            @again bra DONE;
            ld.global.v4.b32 {raw0, raw1, raw2, raw3}, [source];
            ld.global.v4.b32 {other0, other1, other2, other3}, [rightSource];
            """);
        for (int i = 0; i < 4; i++)
        {
            ptx.Add($"ld.global.nc.v4.f32 {Vector($"cos{2 * i}", $"sin{2 * i}", $"cos{(2 * i) + 1}", $"sin{(2 * i) + 1}")}, [angles+{i * 16}];");
        }

        ptx.Widen(Names("raw", 4), Names("x", 8)).Widen(Names("other", 4), Names("y", 8));
        for (int i = 0; i < 8; i++)
        {
            Turn(ptx, $"x{i}", $"y{i}", $"cos{i}", $"sin{i}", $"u{i}", $"v{i}");
        }

        ptx.Narrow(Names("u", 8), Names("raw", 4)).Narrow(Names("v", 8), Names("other", 4)).Add("""
            st.global.v4.b32 [target], {raw0, raw1, raw2, raw3};
            st.global.v4.b32 [rightTarget], {other0, other1, other2, other3};
            bra DONE;
            ONE_BY_ONE:
            add.u32 last, dimension, 8;
            NEXT:
            setp.ge.u32 again, dimension, last;
            @again bra DONE;
            setp.lt.u32 isLeft, dimension, pairs;
            shl.b32 scratch, pairs, 1;
            setp.lt.u32 isRight, dimension, scratch;
            @isLeft bra PAIR;
            @isRight bra ADVANCE;
            @isQuery bra ADVANCE;
            ld.global.b16 halfValue, [source];
            st.global.b16 [target], halfValue;
            bra ADVANCE;
            PAIR:
            ld.global.b16 halfLow, [source];
            ld.global.b16 halfHigh, [rightSource];
            ld.global.nc.v2.f32 {cosine, sine}, [angles];
            cvt.f32.f16 left, halfLow;
            cvt.f32.f16 right, halfHigh;
            """);
        Turn(ptx, "left", "right", "cosine", "sine", "turnedLeft", "turnedRight");
        ptx.Add("""
            cvt.rn.f16.f32 halfLow, turnedLeft;
            cvt.rn.f16.f32 halfHigh, turnedRight;
            st.global.b16 [target], halfLow;
            st.global.b16 [rightTarget], halfHigh;
            ADVANCE:
            add.u32 dimension, dimension, 1;
            add.u64 source, source, 2;
            add.u64 target, target, 2;
            add.u64 rightSource, rightSource, 2;
            add.u64 rightTarget, rightTarget, 2;
            add.u64 angles, angles, 8;
            bra NEXT;
            """);
        return ptx.End();
    }

    /// <summary>left = x cos - y sin, right = y cos + x sin.</summary>
    private static void Turn(PtxWriter ptx, string x, string y, string cosine, string sine, string left, string right) => ptx.Add($"""
        mul.rn.f32 {left}, {y}, {sine};
        neg.f32 {left}, {left};
        fma.rn.f32 {left}, {x}, {cosine}, {left};
        mul.rn.f32 {right}, {x}, {sine};
        fma.rn.f32 {right}, {y}, {cosine}, {right};
        """);
}
