using KernelGen.Generator.Emit.Cuda.Decoder;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The first outliers of a single row, as many as the tile's buffer holds, without the list that the helpers walk for the others: the mask is in shared
/// memory, where a warp counts its bits all at once. Their weights, where they are int8, pass through the block's ring: the consumers take them from there,
/// dequantized, since fetching them from memory once more would cost an access of its own for every output feature and column, in the middle of the stream.
/// 16-bit weights are gathered by the helpers, as everything where a tile's K does not pass through rings that reach its buffer.
/// </summary>
internal static class StreamOutliers
{
    /// <summary>Columns that are summed at a time: their values and weights are on the way together.</summary>
    private const int ColumnsAtOnce = 4;

    /// <summary>Consumer warps that read stages: a thread per output feature.</summary>
    public const int TakerWarps = StreamGemmPlan.BlockN / 32;

    /// <summary>isLeader: the threads that give a stage back for all that have read it.</summary>
    public const string IsTakersLeader = "setp.eq.and.u32 isLeader, lane, 0, isTaker;";

    private static readonly string[] Words = DecoderFrame.Names("maskWord", 4);

    public static void Declare(PtxWriter ptx) => ptx
        .Registers("b32", "takenOrdinal", "takenAt", "takenFeature", "takenAddress", "maskCursor", "maskItem", "maskLimit", "maskBit", "maskBlock", "maskCount", "maskSum", "takenTotal")
        .Registers("b32", Words)
        .Registers("f32", "takenValue", "takenFactor0", "takenFactor1")
        .Registers("f32", DecoderFrame.Names("takenRow", ColumnsAtOnce)).Registers("f32", DecoderFrame.Names("takenLow", ColumnsAtOnce)).Registers("f32", DecoderFrame.Names("takenHigh", ColumnsAtOnce))
        .Registers("pred", "takesWeights", "takesNone", "isTaker", "takesColumns", "sumsTaken", "wordDone", "isRemote", "isSent");

    /// <summary>
    /// The helpers bring the values of a tile's first outliers, and are done with it, at HELPED_SEGMENT, if there are no others; where nobody takes their weights,
    /// they leave all to the gathering that follows.
    /// </summary>
    public static void BringValues(PtxWriter ptx, StreamGemmPlan plan)
    {
        string none = ptx.Label("BRING_NONE"), batch = ptx.Label("BATCH"), counted = ptx.Label("BATCHES_DONE");
        Decide(ptx, "hasOriginals");
        ptx.Add($"@!takesWeights bra {none};");
        OutlierHelpers.AwaitEmpty(ptx);
        ptx.Add($$"""
            mov.u32 maskSum, 0;
            mov.u32 maskBlock, 0;
            {{batch}}:
            setp.ge.u32 again, maskBlock, kBlocks;
            @again bra {{counted}};
            add.u32 maskBit, maskBlock, helperLane;
            setp.lt.u32 inRange, maskBit, kBlocks;
            mad.lo.u32 takenAddress, maskBit, 16, rowMask;
            {{string.Join("\n", Words.Select(static word => $"mov.b32 {word}, 0;"))}}
            @inRange ld.shared.v4.b32 {{DecoderFrame.Vector(Words)}}, [takenAddress];
            mov.u32 maskCount, 0;
            """);
        foreach (string word in Words)
        {
            ptx.Add($"popc.b32 maskItem, {word};").Add("add.u32 maskCount, maskCount, maskItem;");
        }

        ptx.Add("mov.u32 takenOrdinal, maskCount;");
        for (int distance = 1; distance < 32; distance *= 2)
        {
            ptx.Add($"""
                shfl.sync.up.b32 maskItem|inRange, takenOrdinal, {distance}, 0, 0xFFFFFFFF;
                @inRange add.u32 takenOrdinal, takenOrdinal, maskItem;
                """);
        }

        ptx.Add("""
            shfl.sync.idx.b32 maskItem, takenOrdinal, 31, 31, 0xFFFFFFFF;
            sub.u32 takenOrdinal, takenOrdinal, maskCount;
            add.u32 takenOrdinal, takenOrdinal, maskSum;
            add.u32 maskSum, maskSum, maskItem;
            add.u32 maskLimit, maskBlock, helperLane;
            shl.b32 maskLimit, maskLimit, 7;
            add.u32 maskBlock, maskBlock, 32;
            setp.lt.u32 isTaker, helperThread, 32;
            """);
        for (int word = 0; word < Words.Length; word++)
        {
            string column = ptx.Label("BRING_COLUMN"), next = ptx.Label("NEXT_MASK_WORD");
            ptx.Add($"{column}:");
            NextBit(ptx, word, next);
            ptx.Add($"""
                add.u32 maskBit, maskBit, maskLimit;
                setp.lt.and.u32 again, takenOrdinal, {plan.OutlierChunk}, isTaker;
                """);
            LoadValue(ptx, plan);
            ptx.Add($"""
                mad.lo.u32 takenAddress, takenOrdinal, {plan.Tokens * 4}, outlierBuffer;
                @again st.shared.f32 [takenAddress+{plan.OutlierChunk * StreamGemmPlan.BlockN * 4}], takenValue;
                add.u32 takenOrdinal, takenOrdinal, 1;
                bra {column};
                {next}:
                """);
        }

        ptx.Add($"""
            bar.warp.sync 0xFFFFFFFF;
            bra {batch};
            {counted}:
            min.u32 maskCount, maskSum, {plan.OutlierChunk};
            setp.le.u32 isLast, maskSum, {plan.OutlierChunk};
            selp.u32 maskBit, 1, 0, isLast;
            """);
        OutlierHelpers.Publish(ptx, "maskCount", "maskBit");
        ptx.Add("@isLast bra HELPED_SEGMENT;").Add($"{none}:");
    }

    /// <summary>The gathering begins behind what was brought and taken.</summary>
    public static void SkipTaken(PtxWriter ptx) => ptx.Add($"""
        setp.eq.and.u32 more, listOrdinal, 0, takesWeights;
        @more mov.u32 chunkFirst, {GemmNumbers.RowOutlierChunk};
        """);

    /// <summary>This thread's outliers of the row, and those of them ahead of the block's own K blocks, to the counts that a cluster's blocks need.</summary>
    public static void Count(PtxWriter ptx, int groups)
    {
        string alone = ptx.Label("COUNTS_NOTHING");
        ptx.Add($"""
            @isAlone bra {alone};
            mov.u32 keeps, 0;
            mov.u32 magnitude, 0;
            """);
        for (int first = 0; first < groups; first += 4)
        {
            ptx.Add("mov.u32 scratch, 0;");
            for (int i = first; i < Math.Min(groups, first + 4); i++)
            {
                ptx.Add($"setp.gt.s32 present, ownFirst, {i * StreamGemmPlan.RowThreads};").Add($"@present or.b32 scratch, scratch, 0x{0xFFu << (8 * (i - first)):X8};");
            }

            ptx.Add($"""
                and.b32 scratch, scratch, marks{first / 4};
                popc.b32 scratch, scratch;
                add.u32 keeps, keeps, scratch;
                popc.b32 scratch, marks{first / 4};
                add.u32 magnitude, magnitude, scratch;
                """);
        }

        ptx.Add($"""
            selp.u32 keeps, keeps, 0, isFinite;
            selp.u32 magnitude, magnitude, 0, isFinite;
            redux.sync.add.s32 keeps, keeps, 0xFFFFFFFF;
            redux.sync.add.s32 magnitude, magnitude, 0xFFFFFFFF;
            mov.u32 address32, rowCounts;
            @isRowLeader red.shared.add.u32 [address32], keeps;
            @isRowLeader red.shared.add.u32 [address32+4], magnitude;
            {alone}:
            """);
    }

    /// <summary>
    /// Before a segment's K blocks: the ordinal of its first outlier column, and where this thread's feature of the first block's buffer is, which all threads
    /// have read for the tile before. takenTotal, in a cluster: outliers of the row.
    /// </summary>
    public static void Start(PtxWriter ptx)
    {
        string none = ptx.Label("TAKE_NONE");
        ptx.Argument("pointer", nameof(GemmArguments.Originals), "u64").Add("setp.ne.u64 again, pointer, 0;");
        Decide(ptx, "again");
        ptx.Add($"""
            bar.sync 1, 128;
            mov.u32 takenOrdinal, 0;
            mov.u32 takenTotal, 0;
            mov.u32 maskCursor, rowMask;
            and.b32 takenFeature, groupThread, {StreamGemmPlan.BlockN - 1};
            setp.lt.u32 isTaker, groupThread, {StreamGemmPlan.BlockN};
            and.pred takesColumns, takesWeights, isTaker;
            and.pred sumsTaken, takesWeights, takesWeights;
            @!takesWeights bra {none};
            mad.lo.u32 takenAt, takenFeature, 4, outlierBuffer;
            setp.ne.u32 isRemote, rank, 0;
            @isRemote mapa.shared::cluster.u32 takenAt, takenAt, 0;
            mul.lo.u32 maskLimit, tile, kBlocks;
            sub.u32 maskLimit, unit, maskLimit;
            shl.b32 maskLimit, maskLimit, 2;
            mad.lo.u32 maskCursor, maskLimit, 4, rowMask;
            @isAlone bra {none};
            mov.u32 takenAddress, rowCounts;
            ld.shared.u32 takenOrdinal, [takenAddress];
            ld.shared.u32 takenTotal, [takenAddress+4];
            {none}:
            """);
    }

    /// <summary>The consumers take the outlier columns of the K block at stageBase, while it is multiplied. Few blocks have any.</summary>
    public static void Take(PtxWriter ptx)
    {
        string done = ptx.Label("TAKEN");
        ptx.Add($$"""
            ld.shared.v4.b32 {{DecoderFrame.Vector(Words)}}, [maskCursor];
            add.u32 maskCursor, maskCursor, 16;
            or.b32 maskItem, maskWord0, maskWord1;
            or.b32 maskBit, maskWord2, maskWord3;
            or.b32 maskItem, maskItem, maskBit;
            setp.ne.and.u32 again, maskItem, 0, takesColumns;
            @!again bra {{done}};
            """);
        for (int word = 0; word < Words.Length; word++)
        {
            string column = ptx.Label("TAKE_COLUMN"), next = ptx.Label("NEXT_MASK_WORD");
            ptx.Add($"{column}:");
            NextBit(ptx, word, next);

            // TMA has swizzled the stage: a feature's 16-byte pieces stand at their number xor the feature's. The values stay int8: a feature's step is at hand where they are multiplied.
            ptx.Add($"""
                mad.lo.u32 takenAddress, takenFeature, {StreamGemmPlan.BlockK}, stageBase;
                and.b32 maskItem, takenFeature, 7;
                shl.b32 maskItem, maskItem, 4;
                xor.b32 maskItem, maskItem, maskBit;
                add.u32 takenAddress, takenAddress, maskItem;
                setp.lt.u32 again, takenOrdinal, {GemmNumbers.RowOutlierChunk};
                @again ld.shared.s8 maskItem, [takenAddress];
                cvt.rn.f32.s32 takenValue, maskItem;
                mad.lo.u32 takenAddress, takenOrdinal, {StreamGemmPlan.BlockN * 4}, takenAt;
                and.pred isSent, again, isRemote;
                @isSent st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [takenAddress], takenValue, [ranksBarrier];
                not.pred isSent, isRemote;
                and.pred isSent, isSent, again;
                @isSent st.shared.f32 [takenAddress], takenValue;
                add.u32 takenOrdinal, takenOrdinal, 1;
                bra {column};
                {next}:
                """);
        }

        // The warp's first lane gives the stage back later, for all lanes.
        ptx.Add("bar.warp.sync 0xFFFFFFFF;").Add($"{done}:");
    }

    /// <summary>The bytes that the cluster's other blocks leave in this one's buffer, to <c>total</c>.</summary>
    public static void CountOthers(PtxWriter ptx) => ptx.Add($"""
        min.u32 takenTotal, takenTotal, {GemmNumbers.RowOutlierChunk};
        min.u32 maskItem, takenOrdinal, {GemmNumbers.RowOutlierChunk};
        sub.u32 takenTotal, takenTotal, maskItem;
        mad.lo.u32 total, takenTotal, {StreamGemmPlan.BlockN * 4}, total;
        """);

    /// <summary>What this block's threads have taken is there for all of them.</summary>
    public static void Meet(PtxWriter ptx) => ptx.Add("bar.sync 1, 128;");

    /// <summary>
    /// The buffer's columns, ascending, to the sums of the row. Weights that were taken are int8 values still, which their feature's step makes what
    /// the helpers gather.
    /// </summary>
    public static void SumColumns(PtxWriter ptx, StreamGemmPlan plan, string[] accumulators)
    {
        string columns = ptx.Label("OUTLIER_COLUMNS");
        ptx.Add($"""
            add.u32 outlierRows, outlierBuffer, {plan.OutlierChunk * StreamGemmPlan.BlockN * 4};
            selp.f32 takenFactor0, columnStep0, {PtxWriter.F32(1)}, sumsTaken;
            selp.f32 takenFactor1, columnStep1, {PtxWriter.F32(1)}, sumsTaken;
            {columns}:
            """);
        for (int i = 0; i < ColumnsAtOnce; i++)
        {
            ptx.Add($"""
                ld.shared.f32 takenLow{i}, [outlierWeights+{i * StreamGemmPlan.BlockN * 4}];
                ld.shared.f32 takenHigh{i}, [outlierWeights+{(i * StreamGemmPlan.BlockN * 4) + 32}];
                ld.shared.f32 takenRow{i}, [outlierRows+{i * plan.Tokens * 4}];
                """);
        }

        for (int i = 0; i < ColumnsAtOnce; i++)
        {
            ptx.Add($"""
                setp.gt.u32 again, columnsLeft, {i};
                mul.rn.f32 takenLow{i}, takenLow{i}, takenFactor0;
                mul.rn.f32 takenHigh{i}, takenHigh{i}, takenFactor1;
                @again fma.rn.f32 {accumulators[0]}, takenRow{i}, takenLow{i}, {accumulators[0]};
                @again fma.rn.f32 {accumulators[2]}, takenRow{i}, takenHigh{i}, {accumulators[2]};
                """);
        }

        ptx.Add($"""
            add.u32 outlierRows, outlierRows, {ColumnsAtOnce * plan.Tokens * 4};
            add.u32 outlierWeights, outlierWeights, {ColumnsAtOnce * StreamGemmPlan.BlockN * 4};
            setp.gt.u32 again, columnsLeft, {ColumnsAtOnce};
            sub.u32 columnsLeft, columnsLeft, {ColumnsAtOnce};
            @again bra {columns};
            setp.ne.u32 sumsTaken, columnsLeft, columnsLeft;
            """);
    }

    /// <summary>takesWeights: whether the tile's whole K passes through rings whose blocks reach the buffer, those of this block or of its cluster.</summary>
    private static void Decide(PtxWriter ptx, string hasOriginals) => ptx.Add($"""
        setp.eq.u32 takesWeights, segmentUnits, kBlocks;
        not.pred takesNone, isAlone;
        or.pred takesWeights, takesWeights, takesNone;
        not.pred takesNone, {hasOriginals};
        and.pred takesWeights, takesWeights, takesNone;
        """);

    /// <summary>maskBit: the next bit of a word, which loses it, as a column of the K block; on to the label if there is none.</summary>
    private static void NextBit(PtxWriter ptx, int word, string none) => ptx.Add($"""
        setp.eq.u32 wordDone, {Words[word]}, 0;
        @wordDone bra {none};
        brev.b32 maskBit, {Words[word]};
        bfind.shiftamt.u32 maskBit, maskBit;
        sub.u32 maskItem, {Words[word]}, 1;
        and.b32 {Words[word]}, {Words[word]}, maskItem;
        add.u32 maskBit, maskBit, {word * 32};
        """);

    /// <summary>takenValue: the row's value at maskBit, where it is wanted (again).</summary>
    private static void LoadValue(PtxWriter ptx, StreamGemmPlan plan)
    {
        ptx.Add("mov.u32 maskItem, 0;");
        ptx.Add(plan.KeepsHalves
            ? """
                mad.lo.u32 takenAddress, maskBit, 2, rowHalves;
                @again ld.shared.u16 maskItem, [takenAddress];
                """
            : """
                mul.wide.u32 offset, maskBit, 2;
                add.u64 address, activations, offset;
                @again ld.global.u16 maskItem, [address];
                """);
        ptx.Add(plan.Numbers.Output == ElementFormat.BFloat16
            ? "shl.b32 maskItem, maskItem, 16;\nmov.b32 takenValue, maskItem;"
            : "cvt.u16.u32 halfBits, maskItem;\ncvt.f32.f16 takenValue, halfBits;");
    }
}
