using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The three warps beside the TMA producer. While the consumers multiply a tile, they list the outlier columns of the mask and gather, eight
/// columns at a time, the tile's activations and weights in float32 to shared memory, where the consumers' epilogue finds them: 16-bit weights as they are, int8
/// ones without their step. The list of columns is never written anywhere and its length never known to the host. <c>weightLane</c> is where the weight of a lane
/// goes among 32, <c>columnList</c> where a warp's list passes through shared memory. Beside a single row they gather weights alone (<see cref="RowOutliers"/>).
/// </summary>
internal static class OutlierHelpers
{
    /// <summary>Threads that gather.</summary>
    public const int Threads = 96;

    public const int Lanes = 32;

    /// <summary>In what is published with a buffer: no more columns follow.</summary>
    public const int LastFlag = 1;

    private const int Chunk = GemmNumbers.OutlierChunk;

    /// <summary>Words of the mask that a lane asks for at once: beside streams of weights an answer takes a microsecond.</summary>
    private const int WordsAhead = 8;

    public static void Declare(PtxWriter ptx) => ptx
        .Registers("b32", Enumerable.Range(0, WordsAhead).Select(i => $"wordAhead{i}").ToArray())
        .Registers("b32", "helperThread", "helperLane", "weightLane", "columnList", "inputFormat", "originalFormat", "originalStride", "originalsCompact", "activationStride")
        .Registers("b32", "inputShift", "originalShift", "maskWords", "maskBase", "wordsBase", "maskWord", "nonZero", "source", "word", "bit", "column")
        .Registers("b32", "listColumn", "listCount", "listOrdinal", "chunkFirst", "chunkColumns", "item", "slot", "listSlot", "gatherColumn", "gatherOrdinal", "row")
        .Registers("b32", "outlierPhase", "otherPhase", "outlierBuffer", "outlierBarrier", "ticket", "ticketLimit", "keepMask", "storeAddress", "copyBytes", "loaded", "half", "byteShift")
        .Registers("b64", "mask", "activations", "originals", "weightsBase", "ticketAddress", "address", "offset", "columnSteps", "aligned")
        .Registers("b16", "halfBits")
        .Registers("f32", "threshold", "magnitude", "value")
        .Registers("pred", "inputIsF32", "inputIsF16", "inputIsBf16", "originalIsF32", "originalIsF16", "originalIsBf16", "hasOriginals", "isCompact")
        .Registers("pred", "isLast", "isMine", "inRange", "keep", "more", "isLane0", "maskDone", "listKept");

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
        .Argument("keepMask", nameof(GemmArguments.KeepMask), "u32")
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
            setp.ne.u32 listKept, originalShift, originalShift;
            mov.u32 helperLane, %laneid;
            mov.u32 weightLane, helperLane;
            setp.eq.u32 isLane0, helperLane, 0;
            """);

    /// <summary>Where the warp's list is, in shared memory from <paramref name="offset"/> on.</summary>
    public static void LocateList(PtxWriter ptx, int offset) => ptx.Add($"""
        and.b32 columnList, helperThread, {~(Lanes - 1) & 0x7F};
        mad.lo.u32 columnList, columnList, 4, shared;
        add.u32 columnList, columnList, {offset};
        """);

    /// <summary>The first columns of the mask to the warp's list, a lane each; <c>listKept</c> if that is all of them.</summary>
    public static void StartList(PtxWriter ptx)
    {
        string filled = ptx.Label("FILLED");
        ResetList(ptx);
        FillList(ptx, ptx.Label("REFILL"), filled);
        ptx.Add("mov.pred listKept, maskDone;");
    }

    /// <summary>
    /// Gathers every chunk of the tile whose first row and output feature are in <c>tileRow</c> and <c>tileColumn</c> into the buffer at
    /// <c>outlierBuffer</c>: weights [8][blockN], activations [8][blockM], barriers full and empty, then count and flags.
    /// Up to 32 columns stay in the warp's list; the mask is read again per tile only if there are more.
    /// </summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="numbers">What it computes.</param>
    /// <param name="blockM">Rows of a tile.</param>
    /// <param name="blockN">Output features of a tile.</param>
    /// <param name="flags">A register of bits for the consumers, beside the last flag; or null.</param>
    public static void GatherTile(PtxWriter ptx, GemmNumbers numbers, int blockM, int blockN, string? flags = null)
    {
        string refill = ptx.Label("REFILL"), filled = ptx.Label("FILLED"), chunks = ptx.Label("CHUNKS"), chunk = ptx.Label("CHUNK");
        string done = ptx.Label("GATHERED");
        ptx.Add($"@listKept bra {chunks};");
        ResetList(ptx);
        FillList(ptx, refill, filled);
        ptx.Add($"""
            setp.eq.u32 listKept, listOrdinal, 0;
            and.pred listKept, listKept, maskDone;
            {chunks}:
            mov.u32 chunkFirst, 0;
            {chunk}:
            sub.u32 chunkColumns, listCount, chunkFirst;
            setp.le.u32 isLast, chunkColumns, {Chunk};
            and.pred isLast, isLast, maskDone;
            min.u32 chunkColumns, chunkColumns, {Chunk};
            """);
        AwaitEmpty(ptx);
        GatherColumns(ptx, numbers, blockM, blockN, Chunk);
        ptx.Add($"selp.u32 item, {LastFlag}, 0, isLast;").Add(flags is null ? "" : $"or.b32 item, item, {flags};");
        Publish(ptx, "chunkColumns", "item");
        ptx.Add($"""
            add.u32 chunkFirst, chunkFirst, {Chunk};
            @isLast bra {done};
            setp.lt.u32 more, chunkFirst, listCount;
            @more bra {chunk};
            bra {refill};
            {done}:
            """);
    }

    /// <summary>Waits until the consumers have read what was in the buffer.</summary>
    public static void AwaitEmpty(PtxWriter ptx)
    {
        string wait = ptx.Label("WAIT_EMPTY");
        ptx.Add($"""
            xor.b32 item, outlierPhase, 1;
            {wait}:
            mbarrier.try_wait.parity.shared::cta.b64 more, [outlierBarrier+8], item;
            @!more bra {wait};
            bar.warp.sync 0xFFFFFFFF;
            """);
    }

    /// <summary>Hands the buffer to the consumers, with the number of its columns and, in <see cref="LastFlag"/>, whether none follow for this tile.</summary>
    public static void Publish(PtxWriter ptx, string columns, string last) => ptx.Add($"""
        setp.eq.u32 more, helperThread, 0;
        @more st.shared.u32 [outlierBarrier+16], {columns};
        @more st.shared.u32 [outlierBarrier+20], {last};
        mbarrier.arrive.shared::cta.b64 _, [outlierBarrier];
        bar.warp.sync 0xFFFFFFFF;
        xor.b32 outlierPhase, outlierPhase, 1;
        """);

    /// <summary>
    /// Runs a body for each column of the mask, ascending, with <c>column</c> and <c>listOrdinal</c> set: for kernels without helper warps. The
    /// whole warp walks together.
    /// </summary>
    public static void ForEachColumn(PtxWriter ptx, System.Action body)
    {
        string words = ptx.Label("MASK_WORDS"), next = ptx.Label("NEXT_WORD"), bits = ptx.Label("NEXT_BIT"), done = ptx.Label("MASK_DONE");
        ptx.Add($"""
            mov.u32 maskBase, 0;
            mov.u32 listOrdinal, 0;
            {words}:
            setp.ge.u32 more, maskBase, maskWords;
            @more bra {done};
            add.u32 item, maskBase, helperLane;
            setp.lt.u32 inRange, item, maskWords;
            mov.u32 maskWord, 0;
            mul.wide.u32 offset, item, 4;
            add.u64 address, mask, offset;
            @inRange ld.global.u32 maskWord, [address];
            mov.u32 wordsBase, maskBase;
            add.u32 maskBase, maskBase, {Lanes};
            setp.ne.u32 keep, maskWord, 0;
            vote.sync.ballot.b32 nonZero, keep, 0xFFFFFFFF;
            {next}:
            setp.eq.u32 more, nonZero, 0;
            @more bra {words};
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
            add.u32 column, wordsBase, source;
            shl.b32 column, column, 5;
            add.u32 column, column, bit;
            """);
        body();
        ptx.Add($"""
            add.u32 listOrdinal, listOrdinal, 1;
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
            mov.u32 ticketLimit, %nctaid.x;
            mul.lo.u32 ticketLimit, ticketLimit, {warpsPerBlock};
            sub.u32 ticketLimit, ticketLimit, 1;
            mov.u32 ticket, 0;
            membar.gl;
            @isLane0 atom.global.add.u32 ticket, [ticketAddress], 1;
            shfl.sync.idx.b32 ticket, ticket, 0, 31, 0xFFFFFFFF;
            setp.ne.u32 more, ticket, ticketLimit;
            @more bra {done};
            @isLane0 st.global.u32 [ticketAddress], 0;
            setp.ne.u32 more, keepMask, 0;
            @more bra {done};
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

    /// <summary>An empty list, the mask unread.</summary>
    private static void ResetList(PtxWriter ptx) => ptx.Add("""
        mov.u32 maskBase, 0;
        mov.u32 maskWord, 0;
        mov.u32 listOrdinal, 0;
        mov.u32 listCount, 0;
        setp.ne.u32 maskDone, helperLane, helperLane;
        """);

    /// <summary>
    /// Goes on reading the mask where the last call stopped, until the list is full or the mask is done. A lane's word, less the bits that are listed, is in <c>maskWord</c>:
    /// all lanes count theirs and list them at once, by way of shared memory.
    /// </summary>
    private static void FillList(PtxWriter ptx, string refill, string filled)
    {
        string words = ptx.Label("LIST_WORDS"), bits = ptx.Label("LIST_BITS"), listed = ptx.Label("BITS_LISTED"), nextBase = ptx.Label("NEXT_BASE"), ahead = ptx.Label("WORDS_AHEAD"), exhausted = ptx.Label("MASK_DONE");
        ptx.Add($"""
            {refill}:
            add.u32 listOrdinal, listOrdinal, listCount;
            mov.u32 listCount, 0;
            {words}:
            popc.b32 bit, maskWord;
            setp.ne.u32 keep, bit, 0;
            vote.sync.any.pred more, keep, 0xFFFFFFFF;
            @!more bra {nextBase};
            """);
        for (int distance = 1; distance < Lanes; distance *= 2)
        {
            ptx.Add($"""
                shfl.sync.up.b32 item|inRange, bit, {distance}, 0, 0xFFFFFFFF;
                @inRange add.u32 bit, bit, item;
                """);
        }

        // The ordinal of the lane's first column, and the length of the list with all lanes' columns.
        ptx.Add($"""
            shfl.sync.idx.b32 word, bit, 31, 31, 0xFFFFFFFF;
            popc.b32 item, maskWord;
            sub.u32 source, bit, item;
            add.u32 source, source, listCount;
            add.u32 listCount, listCount, word;
            min.u32 listCount, listCount, {Lanes};
            add.u32 wordsBase, maskBase, helperLane;
            shl.b32 wordsBase, wordsBase, 5;
            {bits}:
            setp.eq.u32 more, maskWord, 0;
            setp.ge.or.u32 more, source, {Lanes}, more;
            @more bra {listed};
            brev.b32 bit, maskWord;
            bfind.shiftamt.u32 bit, bit;
            sub.u32 item, maskWord, 1;
            and.b32 maskWord, maskWord, item;
            sub.u32 column, wordsBase, {Lanes * 32};
            add.u32 column, column, bit;
            mad.lo.u32 item, source, 4, columnList;
            st.shared.u32 [item], column;
            add.u32 source, source, 1;
            bra {bits};
            {listed}:
            bar.warp.sync 0xFFFFFFFF;
            setp.eq.u32 more, listCount, {Lanes};
            @more bra {filled};
            {nextBase}:
            setp.ge.u32 more, maskBase, maskWords;
            @more bra {exhausted};
            and.b32 item, maskBase, {(WordsAhead * Lanes) - 1};
            setp.ne.u32 more, item, 0;
            @more bra {ahead};
            add.u32 item, maskBase, helperLane;
            mul.wide.u32 address, item, 4;
            add.u64 address, mask, address;
            """);
        for (int i = 0; i < WordsAhead; i++)
        {
            ptx.Add($"""
                setp.lt.u32 inRange, item, maskWords;
                mov.u32 wordAhead{i}, 0;
                @inRange ld.relaxed.gpu.global.u32 wordAhead{i}, [address+{i * Lanes * 4}];
                add.u32 item, item, {Lanes};
                """);
        }

        ptx.Add($"{ahead}:").Add("mov.u32 maskWord, wordAhead0;");
        for (int i = 1; i < WordsAhead; i++)
        {
            ptx.Add($"mov.u32 wordAhead{i - 1}, wordAhead{i};");
        }

        ptx.Add($"""
            add.u32 maskBase, maskBase, {Lanes};
            bra {words};
            {exhausted}:
            setp.eq.u32 maskDone, helperLane, helperLane;
            {filled}:
            mad.lo.u32 item, helperLane, 4, columnList;
            ld.shared.u32 listColumn, [item];
            bar.warp.sync 0xFFFFFFFF;
            """);
    }

    /// <summary>
    /// Each warp takes every third column of the chunk, its lanes neighbouring rows. Whole 4-byte words that hold the values are copied
    /// asynchronously, all of them in flight at once; then each thread turns what it copied into float32 in place.
    /// </summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="numbers">What it computes.</param>
    /// <param name="blockM">Rows of a tile; 0 for the weights alone.</param>
    /// <param name="blockN">Output features of a tile.</param>
    /// <param name="chunk">Columns that the buffer holds.</param>
    public static void GatherColumns(PtxWriter ptx, GemmNumbers numbers, int blockM, int blockN, int chunk)
    {
        int weights = blockN / Lanes, rows = (blockM + Lanes - 1) / Lanes;
        ForSlots(ptx, "COPY_COLUMN", () =>
        {
            string originals = ptx.Label("COPY_ORIGINALS"), copied = ptx.Label("WEIGHTS_COPIED");
            ptx.Add($"""
                mad.lo.u32 storeAddress, slot, {blockN}, weightLane;
                shl.b32 storeAddress, storeAddress, 2;
                add.u32 storeAddress, storeAddress, outlierBuffer;
                add.u32 row, tileColumn, helperLane;
                @hasOriginals bra {originals};
                mul.wide.u32 address, row, kPadded;
                cvt.u64.u32 offset, gatherColumn;
                add.u64 address, address, offset;
                add.u64 address, address, weightsBase;
                mul.wide.u32 offset, kPadded, {Lanes};
                """);
            CopyWords(ptx, weights, "nTotal", 0);
            ptx.Add($"""
                bra {copied};
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
            CopyWords(ptx, weights, "nTotal", 0);
            ptx.Add($"{copied}:");
            if (rows == 0)
            {
                return;
            }

            ptx.Add($"""
                shfl.sync.idx.b32 gatherColumn, listColumn, listSlot, 31, 0xFFFFFFFF;
                mad.lo.u32 storeAddress, slot, {blockM}, helperLane;
                shl.b32 storeAddress, storeAddress, 2;
                add.u32 storeAddress, storeAddress, outlierBuffer;
                add.u32 row, tileRow, helperLane;
                mul.wide.u32 address, row, activationStride;
                cvt.u64.u32 offset, gatherColumn;
                add.u64 address, address, offset;
                shl.b64 address, address, inputShift;
                add.u64 address, address, activations;
                mul.wide.u32 offset, activationStride, {Lanes};
                shl.b64 offset, offset, inputShift;
                setp.lt.u32 isMine, helperLane, {blockM};
                """);
            CopyWords(ptx, rows, "mTotal", chunk * blockN * 4, blockM < Lanes ? "@isMine " : "");
        });
        ptx.Add("cp.async.wait_all;");
        ForSlots(ptx, "CONVERT_COLUMN", () =>
        {
            ptx.Add($"""
                mad.lo.u32 storeAddress, slot, {blockN}, weightLane;
                shl.b32 storeAddress, storeAddress, 2;
                add.u32 storeAddress, storeAddress, outlierBuffer;
                and.b32 byteShift, gatherColumn, 3;
                shl.b32 byteShift, byteShift, 3;
                selp.u32 column, gatherOrdinal, gatherColumn, isCompact;
                add.u32 row, tileColumn, helperLane;
                """);
            for (int i = 0; i < weights; i++)
            {
                string original = ptx.Label("ORIGINAL"), converted = ptx.Label("CONVERTED");
                ptx.Add($"""
                    ld.shared.b32 loaded, [storeAddress+{i * Lanes * 4}];
                    @hasOriginals bra {original};
                    bfe.s32 loaded, loaded, byteShift, 8;
                    cvt.rn.f32.s32 value, loaded;
                    bra {converted};
                    {original}:
                    add.u32 item, row, {i * Lanes};
                    mad.lo.u32 item, item, originalStride, column;
                    """);
                ToFloat(ptx, "original", "originals");
                ptx.Add($"""
                    {converted}:
                    st.shared.f32 [storeAddress+{i * Lanes * 4}], value;
                    """);
            }

            if (rows == 0)
            {
                return;
            }

            ptx.Add($"""
                mad.lo.u32 storeAddress, slot, {blockM}, helperLane;
                shl.b32 storeAddress, storeAddress, 2;
                add.u32 storeAddress, storeAddress, outlierBuffer;
                add.u32 row, tileRow, helperLane;
                setp.lt.u32 isMine, helperLane, {blockM};
                """);
            for (int i = 0; i < rows; i++)
            {
                int at = (chunk * blockN * 4) + (i * Lanes * 4);
                string mine = blockM < Lanes ? "@isMine " : "";
                ptx.Add($"""
                    mov.b32 loaded, 0;
                    {mine}ld.shared.b32 loaded, [storeAddress+{at}];
                    add.u32 item, row, {i * Lanes};
                    mad.lo.u32 item, item, activationStride, gatherColumn;
                    """);
                ToFloat(ptx, "input", "activations");
                if (numbers.Outliers == OutlierPolicy.Elements)
                {
                    // A value below the threshold is in the int8 part and adds nothing here.
                    ptx.Add("""
                        abs.f32 magnitude, value;
                        setp.ge.f32 keep, magnitude, threshold;
                        @!keep mov.f32 value, 0f00000000;
                        """);
                }

                ptx.Add($"{mine}st.shared.f32 [storeAddress+{at}], value;");
            }
        });
    }

    /// <summary>A loop over this warp's slots, with the slot's column and ordinal.</summary>
    private static void ForSlots(PtxWriter ptx, string name, System.Action body)
    {
        string loop = ptx.Label(name), done = ptx.Label(name + "_DONE");
        ptx.Add($"""
            shr.u32 slot, helperThread, 5;
            {loop}:
            setp.ge.u32 more, slot, chunkColumns;
            @more bra {done};
            add.u32 listSlot, chunkFirst, slot;
            add.u32 gatherOrdinal, listOrdinal, listSlot;
            shfl.sync.idx.b32 gatherColumn, listColumn, listSlot, 31, 0xFFFFFFFF;
            """);
        body();
        ptx.Add($"""
            add.u32 slot, slot, {Threads / Lanes};
            bra {loop};
            {done}:
            """);
    }

    /// <summary>The aligned words around <c>address</c>, <c>address + offset</c>...; zeros for rows beyond the limit.</summary>
    private static void CopyWords(PtxWriter ptx, int count, string limit, int storeOffset, string predicate = "")
    {
        for (int i = 0; i < count; i++)
        {
            ptx.Add($"""
                add.u32 item, row, {i * Lanes};
                setp.lt.u32 inRange, item, {limit};
                selp.u32 copyBytes, 4, 0, inRange;
                and.b64 aligned, address, 0xFFFFFFFFFFFFFFFC;
                selp.b64 aligned, aligned, columnSteps, inRange;
                {predicate}cp.async.ca.shared.global [storeAddress+{storeOffset + (i * Lanes * 4)}], [aligned], 4, copyBytes;
                add.u64 address, address, offset;
                """);
        }
    }

    /// <summary>The word in <c>loaded</c>, which holds element number <c>item</c> of the matrix at <paramref name="matrix"/>, to <c>value</c>.</summary>
    private static void ToFloat(PtxWriter ptx, string kind, string matrix) => ptx.Add($$"""
        cvt.u32.u64 half, {{matrix}};
        shr.u32 half, half, 1;
        add.u32 item, item, half;
        and.b32 item, item, 1;
        shl.b32 item, item, 4;
        shr.u32 half, loaded, item;
        cvt.u16.u32 halfBits, half;
        mov.b32 value, loaded;
        @{{kind}}IsF16 cvt.f32.f16 value, halfBits;
        shl.b32 half, half, 16;
        @{{kind}}IsBf16 mov.b32 value, half;
        """);
}
