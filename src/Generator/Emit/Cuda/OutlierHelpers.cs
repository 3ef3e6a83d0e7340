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

    public static void Declare(PtxWriter ptx) => ptx
        .Registers("b32", "helperThread", "helperLane", "inputFormat", "originalFormat", "originalStride", "originalsCompact", "activationStride")
        .Registers("b32", "inputShift", "originalShift", "maskWords", "maskBase", "maskWord", "nonZero", "source", "word", "bit", "column", "myColumn", "myOrdinal")
        .Registers("b32", "chunkColumns", "ordinal", "item", "slot", "gatherColumn", "gatherOrdinal", "outlierPhase", "ticket", "ticketLimit", "row")
        .Registers("b32", "outlierBuffer", "outlierBarrier", "storeAddress", "otherPhase")
        .Registers("b64", "mask", "activations", "originals", "weightsBase", "ticketAddress", "address", "offset", "columnSteps")
        .Registers("f32", "threshold", "magnitude")
        .Registers("pred", "inputIsF32", "inputIsF16", "inputIsBf16", "originalIsF32", "originalIsF16", "originalIsBf16", "hasOriginals", "isLast", "isMine", "inRange", "keep", "more", "isLane0", "isCompact")
        .Registers("b16", "zeroHalf")
        .Registers("b16", "half")
        .Registers("b32", Names("loaded", 8))
        .Registers("f32", Names("value", 8))
        .Registers("f32", Names("scale", 8))
        .Registers("b32", Names("activation", 4))
        .Registers("b16", Names("activationHalf", 4));

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
        GatherColumns(ptx, numbers, blockM, blockN);
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

    /// <summary>
    /// Each warp takes every third column of the chunk. All of a column's loads are in flight before the first is used; lanes are neighbouring
    /// rows, so an address is the one before plus a constant.
    /// </summary>
    private static void GatherColumns(PtxWriter ptx, GemmNumbers numbers, int blockM, int blockN)
    {
        int weights = blockN / Lanes, rows = (blockM + Lanes - 1) / Lanes;
        string loop = ptx.Label("GATHER_COLUMN"), done = ptx.Label("COLUMNS_GATHERED"), originals = ptx.Label("ORIGINALS"), loaded = ptx.Label("WEIGHTS_LOADED");
        ptx.Add($"""
            shr.u32 slot, helperThread, 5;
            {loop}:
            setp.ge.u32 more, slot, chunkColumns;
            @more bra {done};
            shfl.sync.idx.b32 gatherColumn, myColumn, slot, 31, 0xFFFFFFFF;
            shfl.sync.idx.b32 gatherOrdinal, myOrdinal, slot, 31, 0xFFFFFFFF;
            add.u32 row, tileRow, helperLane;
            mul.wide.u32 address, row, activationStride;
            cvt.u64.u32 offset, gatherColumn;
            add.u64 address, address, offset;
            shl.b64 address, address, inputShift;
            add.u64 address, address, activations;
            shl.b32 item, activationStride, inputShift;
            mul.wide.u32 offset, item, {Lanes};
            """);
        for (int i = 0; i < rows; i++)
        {
            ptx.Add($"""
                add.u32 item, row, {i * Lanes};
                setp.lt.u32 inRange, item, mTotal;
                mov.b32 activation{i}, 0;
                mov.b16 activationHalf{i}, 0;
                and.pred keep, inRange, inputIsF32;
                @keep ld.global.b32 activation{i}, [address];
                not.pred isMine, inputIsF32;
                and.pred keep, inRange, isMine;
                @keep ld.global.b16 activationHalf{i}, [address];
                add.u64 address, address, offset;
                """);
        }

        ptx.Add($"""
            add.u32 row, tileColumn, helperLane;
            @hasOriginals bra {originals};
            mul.wide.u32 address, row, 4;
            add.u64 address, address, columnSteps;
            """);
        for (int i = 0; i < weights; i++)
        {
            ptx.Add($"ld.global.nc.f32 scale{i}, [address+{i * Lanes * 4}];");
        }

        ptx.Add($"""
            mul.wide.u32 address, row, kPadded;
            cvt.u64.u32 offset, gatherColumn;
            add.u64 address, address, offset;
            add.u64 address, address, weightsBase;
            mul.wide.u32 offset, kPadded, {Lanes};
            """);
        for (int i = 0; i < weights; i++)
        {
            ptx.Add($"""
                add.u32 item, row, {i * Lanes};
                setp.lt.u32 inRange, item, nTotal;
                mov.b32 loaded{i}, 0;
                @inRange ld.global.nc.s8 loaded{i}, [address];
                add.u64 address, address, offset;
                """);
        }

        for (int i = 0; i < weights; i++)
        {
            ptx.Add($"""
                cvt.rn.f32.s32 value{i}, loaded{i};
                mul.rn.f32 value{i}, value{i}, scale{i};
                """);
        }

        ptx.Add($"""
            bra {loaded};
            {originals}:
            selp.u32 gatherColumn, gatherOrdinal, gatherColumn, isCompact;
            mul.wide.u32 address, row, originalStride;
            cvt.u64.u32 offset, gatherColumn;
            add.u64 address, address, offset;
            shl.b64 address, address, originalShift;
            add.u64 address, address, originals;
            mul.wide.u32 offset, originalStride, {Lanes};
            shl.b64 offset, offset, originalShift;
            """);
        for (int i = 0; i < weights; i++)
        {
            ptx.Add($"""
                add.u32 item, row, {i * Lanes};
                setp.lt.u32 inRange, item, nTotal;
                mov.b32 loaded{i}, 0;
                and.pred keep, inRange, originalIsF32;
                @keep ld.global.nc.b32 loaded{i}, [address];
                not.pred isMine, originalIsF32;
                and.pred keep, inRange, isMine;
                @keep ld.global.nc.u16 loaded{i}, [address];
                add.u64 address, address, offset;
                """);
        }

        for (int i = 0; i < weights; i++)
        {
            ptx.Add($"""
                cvt.u16.u32 half, loaded{i};
                mov.b32 value{i}, loaded{i};
                @originalIsF16 cvt.f32.f16 value{i}, half;
                @originalIsBf16 shl.b32 loaded{i}, loaded{i}, 16;
                @originalIsBf16 mov.b32 value{i}, loaded{i};
                """);
        }

        ptx.Add($"""
            {loaded}:
            mad.lo.u32 storeAddress, slot, {blockN}, helperLane;
            shl.b32 storeAddress, storeAddress, 2;
            add.u32 storeAddress, storeAddress, outlierBuffer;
            """);
        for (int i = 0; i < weights; i++)
        {
            ptx.Add($"st.shared.f32 [storeAddress+{i * Lanes * 4}], value{i};");
        }

        ptx.Add($"""
            mad.lo.u32 storeAddress, slot, {blockM}, helperLane;
            shl.b32 storeAddress, storeAddress, 2;
            add.u32 storeAddress, storeAddress, outlierBuffer;
            setp.lt.u32 inRange, helperLane, {System.Math.Min(blockM, Lanes)};
            """);
        for (int i = 0; i < rows; i++)
        {
            ConvertActivation(ptx, numbers, i);
            ptx.Add($"@inRange st.shared.f32 [storeAddress+{(Chunk * blockN * 4) + (i * Lanes * 4)}], value0;");
        }

        ptx.Add($"""
            add.u32 slot, slot, {Threads / Lanes};
            bra {loop};
            {done}:
            """);
    }

    /// <summary>An activation to value0. For Elements a value below the threshold is in the int8 part and adds nothing here.</summary>
    private static void ConvertActivation(PtxWriter ptx, GemmNumbers numbers, int i)
    {
        ptx.Add($$"""
            mov.b32 value0, activation{{i}};
            @inputIsF16 cvt.f32.f16 value0, activationHalf{{i}};
            @inputIsBf16 mov.b32 value0, {zeroHalf, activationHalf{{i}}};
            """);
        if (numbers.Outliers == OutlierPolicy.Elements)
        {
            ptx.Add("""
                abs.f32 magnitude, value0;
                setp.ge.f32 keep, magnitude, threshold;
                @!keep mov.f32 value0, 0f00000000;
                """);
        }
    }

    private static string[] Names(string name, int count) => Enumerable.Range(0, count).Select(i => name + i).ToArray();
}
