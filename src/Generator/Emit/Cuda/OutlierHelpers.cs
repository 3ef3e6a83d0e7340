using System;
using System.Linq;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The three warps beside the TMA producer. While the consumers multiply a tile, they walk the mask of outlier columns and gather, eight
/// columns at a time, the tile's activations and weights in float32 to shared memory, where the consumers' epilogue finds them. The list of
/// columns is never written anywhere and its length never known to the host.
/// </summary>
internal static class OutlierHelpers
{
    private const int Lanes = 32, Threads = 96, Chunk = GemmNumbers.OutlierChunk;

    /// <summary>Loads in flight per thread while gathering.</summary>
    private const int Batch = 4;

    public static void Declare(PtxWriter ptx) => ptx
        .Registers("b32", "helperThread", "helperLane", "inputFormat", "originalFormat", "originalStride", "originalsCompact", "activationStride")
        .Registers("b32", "inputShift", "originalShift", "maskWords", "maskBase", "maskWord", "nonZero", "source", "word", "bit", "column", "myColumn", "myOrdinal")
        .Registers("b32", "chunkColumns", "ordinal", "item", "slot", "lineIndex", "gatherColumn", "gatherOrdinal", "outlierPhase", "ticket", "ticketLimit", "row")
        .Registers("b32", "outlierBuffer", "outlierBarrier", "storeAddress", "otherPhase")
        .Registers("b64", "mask", "activations", "originals", "weightsBase", "ticketAddress", "address", "offset", "columnSteps")
        .Registers("f32", "threshold", "magnitude")
        .Registers("pred", "inputIsF32", "inputIsF16", "inputIsBf16", "originalIsF32", "originalIsF16", "originalIsBf16", "hasOriginals", "isLast", "isMine", "inRange", "keep", "more", "isLane0", "isCompact")
        .Registers("b16", "zeroHalf")
        .Registers("b32", Names("loaded"))
        .Registers("b16", Names("half"))
        .Registers("b32", Names("target"))
        .Registers("f32", Names("value"))
        .Registers("f32", Names("scale"))
        .Registers("pred", Names("active"));

    /// <summary>Loads what the helper needs from the arguments.</summary>
    public static void Load(PtxWriter ptx) => ptx
        .Argument("inputFormat", nameof(GemmArguments.InputFormat), "u32")
        .Argument("originalFormat", nameof(GemmArguments.OriginalFormat), "u32")
        .Argument("originalStride", nameof(GemmArguments.OriginalStride), "u32")
        .Argument("originalsCompact", nameof(GemmArguments.OriginalsCompact), "u32")
        .Argument("activationStride", nameof(GemmArguments.ActivationStride), "u32")
        .Argument("maskWords", nameof(GemmArguments.MaskWords), "u32")
        .Argument("mask", nameof(GemmArguments.OutlierMask), "u64")
        .Argument("activations", nameof(GemmArguments.Activations), "u64")
        .Argument("originals", nameof(GemmArguments.Originals), "u64")
        .Argument("weightsBase", nameof(GemmArguments.Weights), "u64")
        .Argument("columnSteps", nameof(GemmArguments.ColumnSteps), "u64")
        .Argument("ticketAddress", nameof(GemmArguments.OutlierTicket), "u64")
        .Argument("threshold", nameof(GemmArguments.Threshold), "f32")
        .Add($"""
            setp.ne.u64 hasOriginals, originals, 0;
            setp.eq.u32 isCompact, originalsCompact, 1;
            setp.eq.u32 inputIsF16, inputFormat, {(int)ElementFormat.Float16};
            setp.eq.u32 inputIsBf16, inputFormat, {(int)ElementFormat.BFloat16};
            setp.eq.u32 inputIsF32, inputFormat, {(int)ElementFormat.Float32};
            setp.eq.u32 originalIsF16, originalFormat, {(int)ElementFormat.Float16};
            setp.eq.u32 originalIsBf16, originalFormat, {(int)ElementFormat.BFloat16};
            setp.eq.u32 originalIsF32, originalFormat, {(int)ElementFormat.Float32};
            selp.u32 inputShift, 2, 1, inputIsF32;
            selp.u32 originalShift, 2, 1, originalIsF32;
            mov.b16 zeroHalf, 0;
            mov.u32 helperLane, %laneid;
            setp.eq.u32 isLane0, helperLane, 0;
            """);

    /// <summary>
    /// Gathers every chunk of the tile whose first row and output feature are in <c>tileRow</c> and <c>tileColumn</c> into the buffer at
    /// <c>outlierBuffer</c>: weights [8][blockN], activations [8][blockM], barriers full and empty, then count and last flag.
    /// </summary>
    public static void GatherTile(PtxWriter ptx, GemmNumbers numbers, int blockM, int blockN)
    {
        string words = ptx.Label("MASK_WORDS"), bits = ptx.Label("MASK_BITS"), next = ptx.Label("NEXT_WORD"), flush = ptx.Label("FLUSH");
        string wait = ptx.Label("WAIT_EMPTY"), done = ptx.Label("GATHERED"), last = ptx.Label("LAST_CHUNK"), nextBase = ptx.Label("NEXT_BASE");
        ptx.Add($"""
            mov.u32 chunkColumns, 0;
            mov.u32 ordinal, 0;
            mov.u32 maskBase, 0;
            setp.ne.u32 isLast, helperLane, helperLane;
            {words}:
            setp.ge.u32 more, maskBase, maskWords;
            @more bra {last};
            add.u32 item, maskBase, helperLane;
            setp.lt.u32 inRange, item, maskWords;
            mov.u32 maskWord, 0;
            mul.wide.u32 offset, item, 4;
            add.u64 address, mask, offset;
            @inRange ld.relaxed.gpu.global.u32 maskWord, [address];
            setp.ne.u32 keep, maskWord, 0;
            vote.sync.ballot.b32 nonZero, keep, 0xFFFFFFFF;
            {next}:
            setp.eq.u32 more, nonZero, 0;
            @more bra {nextBase};
            brev.b32 source, nonZero;
            bfind.shiftamt.u32 source, source;
            sub.u32 item, nonZero, 1;
            and.b32 nonZero, nonZero, item;
            shfl.sync.idx.b32 word, maskWord, source, 31, 0xFFFFFFFF;
            {bits}:
            setp.eq.u32 more, word, 0;
            @more bra {next};
            brev.b32 bit, word;
            bfind.shiftamt.u32 bit, bit;
            sub.u32 item, word, 1;
            and.b32 word, word, item;
            add.u32 column, maskBase, source;
            shl.b32 column, column, 5;
            add.u32 column, column, bit;
            setp.eq.u32 isMine, helperLane, chunkColumns;
            @isMine mov.u32 myColumn, column;
            @isMine mov.u32 myOrdinal, ordinal;
            add.u32 ordinal, ordinal, 1;
            add.u32 chunkColumns, chunkColumns, 1;
            setp.eq.u32 more, chunkColumns, {Chunk};
            @more bra {flush};
            bra {bits};
            {nextBase}:
            add.u32 maskBase, maskBase, {Lanes};
            bra {words};
            {last}:
            setp.eq.u32 isLast, helperLane, helperLane;
            {flush}:
            xor.b32 item, outlierPhase, 1;
            {wait}:
            mbarrier.try_wait.parity.shared::cta.b64 more, [outlierBarrier+8], item;
            @!more bra {wait};
            """);
        Gather(ptx, blockN, "tileColumn", storeOffset: 0, LoadWeight, ConvertWeight);
        Gather(ptx, blockM, "tileRow", storeOffset: Chunk * blockN * 4, LoadActivation, numbers.Outliers == OutlierPolicy.Elements ? ConvertElement : ConvertActivation);
        ptx.Add($"""
            setp.eq.u32 more, helperThread, 0;
            selp.u32 item, 1, 0, isLast;
            @more st.shared.u32 [outlierBarrier+16], chunkColumns;
            @more st.shared.u32 [outlierBarrier+20], item;
            bar.warp.sync 0xFFFFFFFF;
            @isLane0 mbarrier.arrive.shared::cta.b64 _, [outlierBarrier];
            xor.b32 outlierPhase, outlierPhase, 1;
            mov.u32 chunkColumns, 0;
            @isLast bra {done};
            bra {bits};
            {done}:
            """);
    }

    /// <summary>
    /// Counts this warp as done with the mask; the last of all clears it for the next call, so that no separate launch has to.
    /// </summary>
    public static void ReleaseMask(PtxWriter ptx, int warpsPerBlock)
    {
        string done = ptx.Label("MASK_RELEASED"), clear = ptx.Label("CLEAR_MASK");
        ptx.Add($"""
            setp.eq.u64 more, ticketAddress, 0;
            @more bra {done};
            mov.u32 ticketLimit, %nctaid.x;
            mul.lo.u32 ticketLimit, ticketLimit, {warpsPerBlock};
            sub.u32 ticketLimit, ticketLimit, 1;
            mov.u32 ticket, 0;
            @isLane0 atom.acq_rel.gpu.global.add.u32 ticket, [ticketAddress], 1;
            shfl.sync.idx.b32 ticket, ticket, 0, 31, 0xFFFFFFFF;
            setp.ne.u32 more, ticket, ticketLimit;
            @more bra {done};
            @isLane0 st.global.u32 [ticketAddress], 0;
            mov.u32 item, helperLane;
            {clear}:
            setp.ge.u32 more, item, maskWords;
            @more bra {done};
            mul.wide.u32 offset, item, 4;
            add.u64 address, mask, offset;
            st.global.u32 [address], 0;
            add.u32 item, item, {Lanes};
            bra {clear};
            {done}:
            """);
    }

    private static string[] Names(string name) => Enumerable.Range(0, Batch).Select(i => name + i).ToArray();

    /// <summary>A loop over [8][width] values, several loads in flight per thread before the first is converted.</summary>
    private static void Gather(
        PtxWriter ptx, int width, string tileFirst, int storeOffset, Action<PtxWriter, int> load, Action<PtxWriter, int> convert)
    {
        int log = 0;
        while (1 << log < width)
        {
            log++;
        }

        string loop = ptx.Label("GATHER");
        ptx.Add("mov.u32 item, helperThread;").Add($"{loop}:");
        for (int i = 0; i < Batch; i++)
        {
            ptx.Add($"""
                add.u32 target{i}, item, {i * Threads};
                shr.u32 slot, target{i}, {log};
                and.b32 lineIndex, target{i}, {width - 1};
                setp.lt.u32 active{i}, slot, chunkColumns;
                shfl.sync.idx.b32 gatherColumn, myColumn, slot, 31, 0xFFFFFFFF;
                shfl.sync.idx.b32 gatherOrdinal, myOrdinal, slot, 31, 0xFFFFFFFF;
                add.u32 row, lineIndex, {tileFirst};
                """);
            load(ptx, i);
        }

        for (int i = 0; i < Batch; i++)
        {
            ptx.Add($"""
                shl.b32 storeAddress, target{i}, 2;
                add.u32 storeAddress, storeAddress, outlierBuffer;
                """);
            convert(ptx, i);
            ptx.Add($"@active{i} st.shared.f32 [storeAddress+{storeOffset}], value{i};");
        }

        ptx.Add($"""
            add.u32 item, item, {Batch * Threads};
            sub.u32 slot, item, helperThread;
            shr.u32 slot, slot, {log};
            setp.lt.u32 more, slot, chunkColumns;
            @more bra {loop};
            """);
    }

    /// <summary>An int8 weight with its step, or an original; 0 beyond N, where results are never stored.</summary>
    private static void LoadWeight(PtxWriter ptx, int i) => ptx.Add($"""
        setp.lt.u32 inRange, row, nTotal;
        and.pred inRange, inRange, active{i};
        mov.b32 loaded{i}, 0;
        mov.b16 half{i}, 0;
        mov.f32 scale{i}, 0f00000000;
        and.pred keep, inRange, hasOriginals;
        not.pred isMine, hasOriginals;
        and.pred inRange, inRange, isMine;
        mul.wide.u32 address, row, 4;
        add.u64 address, address, columnSteps;
        @inRange ld.global.nc.f32 scale{i}, [address];
        mul.wide.u32 address, row, kPadded;
        cvt.u64.u32 offset, gatherColumn;
        add.u64 address, address, offset;
        add.u64 address, address, weightsBase;
        @inRange ld.global.nc.s8 loaded{i}, [address];
        selp.u32 gatherColumn, gatherOrdinal, gatherColumn, isCompact;
        mul.wide.u32 address, row, originalStride;
        cvt.u64.u32 offset, gatherColumn;
        add.u64 address, address, offset;
        shl.b64 address, address, originalShift;
        add.u64 address, address, originals;
        and.pred inRange, keep, originalIsF32;
        @inRange ld.global.nc.b32 loaded{i}, [address];
        not.pred isMine, originalIsF32;
        and.pred inRange, keep, isMine;
        @inRange ld.global.nc.b16 half{i}, [address];
        """);

    private static void ConvertWeight(PtxWriter ptx, int i) => ptx.Add($$"""
        cvt.rn.f32.s32 value{{i}}, loaded{{i}};
        mul.rn.f32 value{{i}}, value{{i}}, scale{{i}};
        and.pred keep, hasOriginals, originalIsF32;
        @keep mov.b32 value{{i}}, loaded{{i}};
        and.pred keep, hasOriginals, originalIsF16;
        @keep cvt.f32.f16 value{{i}}, half{{i}};
        and.pred keep, hasOriginals, originalIsBf16;
        @keep mov.b32 value{{i}}, {zeroHalf, half{{i}}};
        """);

    private static void LoadActivation(PtxWriter ptx, int i) => ptx.Add($"""
        setp.lt.u32 inRange, row, mTotal;
        and.pred inRange, inRange, active{i};
        mov.b32 loaded{i}, 0;
        mov.b16 half{i}, 0;
        mul.wide.u32 address, row, activationStride;
        cvt.u64.u32 offset, gatherColumn;
        add.u64 address, address, offset;
        shl.b64 address, address, inputShift;
        add.u64 address, address, activations;
        and.pred keep, inRange, inputIsF32;
        @keep ld.global.b32 loaded{i}, [address];
        not.pred isMine, inputIsF32;
        and.pred keep, inRange, isMine;
        @keep ld.global.b16 half{i}, [address];
        """);

    private static void ConvertActivation(PtxWriter ptx, int i) => ptx.Add($$"""
        mov.b32 value{{i}}, loaded{{i}};
        @inputIsF16 cvt.f32.f16 value{{i}}, half{{i}};
        @inputIsBf16 mov.b32 value{{i}}, {zeroHalf, half{{i}}};
        """);

    /// <summary>A value below the threshold is in the int8 part and adds nothing here.</summary>
    private static void ConvertElement(PtxWriter ptx, int i)
    {
        ConvertActivation(ptx, i);
        ptx.Add($"""
            abs.f32 magnitude, value{i};
            setp.ge.f32 keep, magnitude, threshold;
            @!keep mov.f32 value{i}, 0f00000000;
            """);
    }
}
