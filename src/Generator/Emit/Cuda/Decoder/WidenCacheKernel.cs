using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// A sequence's old keys and values from the int8 cache to a float16 one, for the attention of a prompt that goes on: a thread block per page, head, and kind,
/// eight values per thread and turn.
/// </summary>
internal static class WidenCacheKernel
{
    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = Begin<CacheArguments>(plan, CachePlan.WidenThreads);
        ptx.Registers("b32", "thread", "item", "items", "page", "pageId", "rest", "keyValueHeads", "headSize", "maxPages", "head", "sequence", "scratch", "value", "slot", "pieces")
           .Registers("b64", "pageTable", "source", "target", "steps", "pointer", "offset", "line", "at")
           .Registers("b32", Names("raw", 2)).Registers("b32", Names("wide", 4)).Registers("f32", Names("x", 8)).Registers("f32", "step")
           .Registers("pred", "again", "isValue")
           .LaunchNext(plan);
        foreach ((string register, string field, string type) in new[]
        {
            ("pageTable", nameof(CacheArguments.PageTable), "u64"), ("keyValueHeads", nameof(CacheArguments.KeyValueHeads), "u32"), ("headSize", nameof(CacheArguments.HeadSize), "u32"),
            ("maxPages", nameof(CacheArguments.MaxPages), "u32"), ("sequence", nameof(CacheArguments.Sequence), "u32"),
        })
        {
            ptx.Argument<CacheArguments>(register, field, type);
        }

        ptx.Add("""
            mov.u32 thread, %tid.x;
            mov.u32 item, %ctaid.x;
            shl.b32 rest, keyValueHeads, 1;
            div.u32 page, item, rest;
            mul.lo.u32 scratch, page, rest;
            sub.u32 head, item, scratch;
            setp.ge.u32 isValue, head, keyValueHeads;
            @isValue sub.u32 head, head, keyValueHeads;
            shr.u32 pieces, headSize, 3;
            shl.b32 items, pieces, 6;
            """).WaitForPrevious(plan).Add("""
            mul.wide.u32 line, sequence, maxPages;
            cvt.u64.u32 pointer, page;
            add.u64 line, line, pointer;
            shl.b64 line, line, 2;
            add.u64 pointer, pageTable, line;
            ld.global.u32 pageId, [pointer];
            mul.wide.u32 line, pageId, keyValueHeads;
            cvt.u64.u32 offset, head;
            add.u64 line, line, offset;
            shl.b64 line, line, 6;
            """)
           .Argument<CacheArguments>("target", nameof(CacheArguments.KeyPages), "u64")
           .Argument<CacheArguments>("source", nameof(CacheArguments.Int8Keys), "u64")
           .Argument<CacheArguments>("steps", nameof(CacheArguments.KeySteps), "u64")
           .Add("@!isValue bra LOCATED;")
           .Argument<CacheArguments>("target", nameof(CacheArguments.ValuePages), "u64")
           .Argument<CacheArguments>("source", nameof(CacheArguments.Int8Values), "u64")
           .Argument<CacheArguments>("steps", nameof(CacheArguments.ValueSteps), "u64")
           .Add($$"""
            LOCATED:
            shl.b64 pointer, line, 2;
            add.u64 steps, steps, pointer;
            cvt.u64.u32 offset, headSize;
            mul.lo.u64 line, line, offset;
            add.u64 source, source, line;
            shl.b64 line, line, 1;
            add.u64 target, target, line;
            mov.u32 item, thread;
            PIECE:
            setp.ge.u32 again, item, items;
            @again bra DONE;
            div.u32 slot, item, pieces;
            mul.wide.u32 offset, slot, 4;
            add.u64 pointer, steps, offset;
            ld.global.f32 step, [pointer];
            mul.wide.u32 offset, item, 8;
            add.u64 at, source, offset;
            ld.global.v2.b32 {raw0, raw1}, [at];
            """);
        for (int i = 0; i < 8; i++)
        {
            ptx.Add($"""
                bfe.s32 value, raw{i / 4}, {i % 4 * 8}, 8;
                cvt.rn.f32.s32 x{i}, value;
                mul.rn.f32 x{i}, x{i}, step;
                """);
        }

        return ptx.Narrow(Names("x", 8), Names("wide", 4)).Add($$"""
            mul.wide.u32 offset, item, 16;
            add.u64 at, target, offset;
            st.global.v4.b32 [at], {{Vector(Names("wide", 4))}};
            add.u32 item, item, {{CachePlan.WidenThreads}};
            bra PIECE;
            """).End();
    }
}
