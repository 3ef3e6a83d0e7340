using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Quantizes new keys and values: a warp takes one head of one row, finds its absmax, and writes int8 values and their step. What the int8 cache holds then
/// also replaces the float16 values, so that attention sees the same numbers whichever cache it reads.
/// </summary>
internal static class PackCacheKernel
{
    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = Begin<CacheArguments>(plan, CachePlan.PackThreads);
        ptx.Registers("b32", "thread", "lane", "item", "items", "row", "rows", "rest", "keyValueHeads", "headSize", "maxPages", "head", "isValueNumber", "position", "sequence", "page", "pageId", "slot", "dimension", "scratch", "packed", "q")
           .Registers("b64", "positions", "sequences", "pageTable", "source", "target", "steps", "pointer", "offset", "line")
           .Registers("b16", "halfLow", "halfHigh")
           .Registers("b32", Names("raw", 2)).Registers("f32", Names("x", 4)).Registers("f32", "absmax", "remote", "step", "factor", "magnitude")
           .Registers("pred", "again", "isValue", "inHead", "isFirst", "isZero")
           .LaunchNext(plan);
        foreach ((string register, string field, string type) in new[]
        {
            ("positions", nameof(CacheArguments.Positions), "u64"), ("sequences", nameof(CacheArguments.Sequences), "u64"), ("pageTable", nameof(CacheArguments.PageTable), "u64"),
            ("keyValueHeads", nameof(CacheArguments.KeyValueHeads), "u32"), ("headSize", nameof(CacheArguments.HeadSize), "u32"), ("maxPages", nameof(CacheArguments.MaxPages), "u32"),
            ("rows", nameof(CacheArguments.Rows), "u32"),
        })
        {
            ptx.Argument<CacheArguments>(register, field, type);
        }

        ptx.Add($"""
            mov.u32 thread, %tid.x;
            and.b32 lane, thread, 31;
            shr.u32 scratch, thread, 5;
            mov.u32 item, %ctaid.x;
            mad.lo.u32 item, item, {CachePlan.PackThreads / 32}, scratch;
            shl.b32 rest, keyValueHeads, 1;
            mul.lo.u32 items, rows, rest;
            """).WaitForPrevious(plan).Add($$"""
            setp.ge.u32 again, item, items;
            @again bra DONE;
            div.u32 row, item, rest;
            mul.lo.u32 scratch, row, rest;
            sub.u32 head, item, scratch;
            setp.ge.u32 isValue, head, keyValueHeads;
            @isValue sub.u32 head, head, keyValueHeads;
            mul.wide.u32 offset, row, 4;
            add.u64 positions, positions, offset;
            ld.global.u32 position, [positions];
            add.u64 sequences, sequences, offset;
            ld.global.u32 sequence, [sequences];
            setp.eq.u32 again, position, 0x{{DecoderRow.Inactive:X8}};
            @again bra DONE;
            shr.u32 page, position, 6;
            and.b32 slot, position, 63;
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
            cvt.u64.u32 offset, slot;
            add.u64 line, line, offset;
            """)
           .Argument<CacheArguments>("source", nameof(CacheArguments.KeyPages), "u64")
           .Argument<CacheArguments>("target", nameof(CacheArguments.Int8Keys), "u64")
           .Argument<CacheArguments>("steps", nameof(CacheArguments.KeySteps), "u64")
           .Add("@!isValue bra LOCATED;")
           .Argument<CacheArguments>("source", nameof(CacheArguments.ValuePages), "u64")
           .Argument<CacheArguments>("target", nameof(CacheArguments.Int8Values), "u64")
           .Argument<CacheArguments>("steps", nameof(CacheArguments.ValueSteps), "u64")
           .Add("""
            LOCATED:
            shl.b64 pointer, line, 2;
            add.u64 steps, steps, pointer;
            shl.b32 dimension, lane, 2;
            setp.lt.u32 inHead, dimension, headSize;
            cvt.u64.u32 offset, headSize;
            mul.lo.u64 line, line, offset;
            cvt.u64.u32 offset, dimension;
            add.u64 line, line, offset;
            add.u64 target, target, line;
            shl.b64 line, line, 1;
            add.u64 source, source, line;
            mov.b32 raw0, 0;
            mov.b32 raw1, 0;
            @inHead ld.global.v2.b32 {raw0, raw1}, [source];
            """)
           .Widen(Names("raw", 2), Names("x", 4))
           .Add("mov.f32 absmax, 0f00000000;");

        // A NaN must be seen: it makes the step, and with it the head, NaN. An infinity does so too, as zero times infinity.
        foreach (string x in Names("x", 4))
        {
            ptx.Add($"""
                abs.f32 magnitude, {x};
                max.NaN.f32 absmax, absmax, magnitude;
                """);
        }

        for (int distance = 16; distance > 0; distance /= 2)
        {
            ptx.Add($"""
                shfl.sync.bfly.b32 remote, absmax, {distance}, 31, 0xFFFFFFFF;
                max.NaN.f32 absmax, absmax, remote;
                """);
        }

        ptx.Add($"""
            mul.rn.f32 step, absmax, {PtxWriter.F32(1f / 127)};
            mov.f32 factor, {PtxWriter.F32(127)};
            div.rn.f32 factor, factor, absmax;
            setp.eq.f32 isZero, absmax, 0f00000000;
            @isZero mov.f32 factor, 0f00000000;
            setp.eq.u32 isFirst, lane, 0;
            @isFirst st.global.f32 [steps], step;
            mov.b32 packed, 0;
            """);
        for (int i = 0; i < 4; i++)
        {
            ptx.Add($"""
                mul.rn.f32 x{i}, x{i}, factor;
                cvt.rni.s32.f32 q, x{i};
                max.s32 q, q, -127;
                min.s32 q, q, 127;
                cvt.rn.f32.s32 x{i}, q;
                mul.rn.f32 x{i}, x{i}, step;
                bfi.b32 packed, q, packed, {i * 8}, 8;
                """);
        }

        return ptx.Narrow(Names("x", 4), Names("raw", 2)).Add("""
            @inHead st.global.b32 [target], packed;
            @inHead st.global.v2.b32 [source], {raw0, raw1};
            """).End();
    }
}
