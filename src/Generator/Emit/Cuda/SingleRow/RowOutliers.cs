using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// A single row's outliers, sixteen at a time. Their columns' mask is in shared memory, where a warp counts its bits all at once; the helpers bring the row's
/// values. Int8 weights of the first sixteen pass through the block's ring: the threads that quantized, and do not multiply, take them from there, since fetching
/// them from memory once more would cost an access of its own for every output feature and column, in the middle of the stream. 16-bit weights, and those of
/// further columns, the helpers gather.
/// </summary>
internal static class RowOutliers
{
    /// <summary>Columns that are summed at a time: their values and weights are on the way together.</summary>
    private const int ColumnsAtOnce = 4;

    private const int HelperBarrier = 4, ColumnBytes = RowGemmPlan.BlockN * 4;

    private static readonly string[] Words = PtxRegisters.Names("maskWord", 4);

    public static void Declare(PtxWriter ptx)
    {
        OutlierHelpers.Declare(ptx);
        ptx.Registers("b32", "takenOrdinal", "takenTotal", "takenAt", "takenFeature", "takenAddress", "maskCursor", "maskItem", "maskBit", "maskBlock", "maskCount", "maskSum", "chunkBase", "columnsLeft", "lastChunk", "outlierWeights", "outlierRows")
           .Registers("b32", Words)
           .Registers("f32", "takenValue", "outlierSum0", "outlierSum1")
           .Registers("f32", PtxRegisters.Names("takenRow", ColumnsAtOnce)).Registers("f32", PtxRegisters.Names("takenLow", ColumnsAtOnce)).Registers("f32", PtxRegisters.Names("takenHigh", ColumnsAtOnce))
           .Registers("pred", "isUpper", "wordDone", "isRemote", "isSent", "isWarp0");
    }

    /// <summary>The helpers of the block that finishes the tile: chunk after chunk of values, and of weights that no taker takes.</summary>
    public static void Help(PtxWriter ptx, RowGemmPlan plan)
    {
        string chunk = ptx.Label("CHUNK"), batch = ptx.Label("BATCH"), publish = ptx.Label("PUBLISH");
        ptx.Add("sub.u32 helperThread, thread, 32;");
        OutlierHelpers.Load(ptx);
        ptx.Add($"""
            mov.u32 outlierPhase, 0;
            add.u32 outlierBuffer, shared, {plan.OutlierOffset};
            add.u32 outlierBarrier, barriers, {plan.OutlierBarrier};
            setp.lt.u32 isWarp0, helperThread, 32;
            mov.u32 chunkBase, 0;
            griddepcontrol.wait;
            """);
        RowQuantization.AwaitMask(ptx);
        ptx.Add($"""
            setp.ne.u32 again, rank, 0;
            @again bra END;
            {chunk}:
            """);
        OutlierHelpers.AwaitEmpty(ptx);
        ptx.Add($$"""
            mov.u32 maskSum, 0;
            mov.u32 maskBlock, helperLane;
            {{batch}}:
            setp.lt.u32 inRange, maskBlock, kBlocks;
            mad.lo.u32 takenAddress, maskBlock, 16, rowMask;
            {{string.Join("\n", Words.Select(static word => $"mov.b32 {word}, 0;"))}}
            @inRange ld.shared.v4.b32 {{PtxRegisters.Vector(Words)}}, [takenAddress];
            mov.u32 maskCount, 0;
            """);
        foreach (string word in Words)
        {
            ptx.Add($"popc.b32 maskItem, {word};").Add("add.u32 maskCount, maskCount, maskItem;");
        }

        // The ordinal of the lane's first column, in this chunk.
        ptx.Add("mov.u32 takenOrdinal, maskCount;");
        for (int distance = 1; distance < 32; distance *= 2)
        {
            ptx.Add($"""
                shfl.sync.up.b32 maskItem|inRange, takenOrdinal, {distance}, 0, 0xFFFFFFFF;
                @inRange add.u32 takenOrdinal, takenOrdinal, maskItem;
                """);
        }

        string bring = ptx.Label("BRING"), brought = ptx.Label("BROUGHT"), column = ptx.Label("NEXT_WORD");
        ptx.Add($"""
            shfl.sync.idx.b32 maskItem, takenOrdinal, 31, 31, 0xFFFFFFFF;
            sub.u32 takenOrdinal, takenOrdinal, maskCount;
            add.u32 takenOrdinal, takenOrdinal, maskSum;
            sub.u32 takenOrdinal, takenOrdinal, chunkBase;
            add.u32 maskSum, maskSum, maskItem;
            shl.b32 maskCursor, maskBlock, 7;
            {column}:
            setp.eq.u32 wordDone, maskCount, 0;
            @wordDone bra {brought};
            {bring}:
            setp.eq.u32 wordDone, maskWord0, 0;
            @!wordDone bra {bring}_BIT;
            mov.b32 maskWord0, maskWord1;
            mov.b32 maskWord1, maskWord2;
            mov.b32 maskWord2, maskWord3;
            add.u32 maskCursor, maskCursor, 32;
            bra {bring};
            {bring}_BIT:
            """);
        FirstBit(ptx, "maskWord0");
        ptx.Add($"""
            add.u32 maskBit, maskBit, maskCursor;
            setp.lt.and.u32 again, takenOrdinal, {RowGemmPlan.OutlierChunk}, isWarp0;
            mad.lo.u32 takenAddress, takenOrdinal, 4, outlierBuffer;
            @again st.shared.u32 [takenAddress+{RowGemmPlan.ColumnsOffset}], maskBit;
            """);
        BringValue(ptx, plan);
        ptx.Add($"""
            add.u32 takenOrdinal, takenOrdinal, 1;
            sub.u32 maskCount, maskCount, 1;
            bra {column};
            {brought}:
            bar.warp.sync 0xFFFFFFFF;
            add.u32 maskBlock, maskBlock, 32;
            sub.u32 maskItem, maskBlock, helperLane;
            setp.lt.u32 again, maskItem, kBlocks;
            @again bra {batch};
            sub.u32 chunkColumns, maskSum, chunkBase;
            setp.le.u32 isLast, chunkColumns, {RowGemmPlan.OutlierChunk};
            min.u32 chunkColumns, chunkColumns, {RowGemmPlan.OutlierChunk};
            setp.eq.u32 again, chunkBase, 0;
            not.pred keep, hasOriginals;
            and.pred again, again, keep;
            @again bra {publish};
            bar.sync {HelperBarrier}, {OutlierHelpers.Threads};
            mov.u32 listOrdinal, chunkBase;
            mov.u32 chunkFirst, 0;
            and.b32 takenAddress, helperLane, {RowGemmPlan.OutlierChunk - 1};
            mad.lo.u32 takenAddress, takenAddress, 4, outlierBuffer;
            ld.shared.u32 listColumn, [takenAddress+{RowGemmPlan.ColumnsOffset}];
            """);
        OutlierHelpers.GatherColumns(ptx, plan.Numbers, 0, RowGemmPlan.BlockN, RowGemmPlan.OutlierChunk);
        ptx.Add($"{publish}:").Add("selp.u32 maskBit, 1, 0, isLast;");
        OutlierHelpers.Publish(ptx, "chunkColumns", "maskBit");
        ptx.Add($"""
            add.u32 chunkBase, chunkBase, {RowGemmPlan.OutlierChunk};
            @!isLast bra {chunk};
            bra END;
            """);
    }

    /// <summary>What the consumers need of the buffer.</summary>
    public static void Start(PtxWriter ptx, RowGemmPlan plan)
    {
        LocateBuffer(ptx, plan);
        ptx.Add("mov.u32 outlierPhase, 0;");
    }

    /// <summary>
    /// The third warpgroup, when the row is done: takes the outlier columns' weights out of every stage before it is given back, a thread per output feature and
    /// half of the columns. The consumers have nothing to do with it.
    /// </summary>
    public static void Take(PtxWriter ptx, RowGemmPlan plan)
    {
        string done = ptx.Label("TAKEN"), word = ptx.Label("TAKE_WORD"), next = ptx.Label("TAKE_BIT");
        ptx.Add("and.b32 groupThread, thread, 127;").Add("and.b32 lane, groupThread, 31;");
        LocateBuffer(ptx, plan);
        ptx.Add($$"""
            setp.eq.u32 isLeader, lane, 0;
            and.b32 takenFeature, groupThread, {{RowGemmPlan.BlockN - 1}};
            setp.ge.u32 isUpper, groupThread, {{RowGemmPlan.BlockN}};
            mad.lo.u32 takenAt, takenFeature, 4, outlierBuffer;
            mad.lo.u32 maskCursor, ownFirst, 16, rowMask;
            add.u32 ranksBarrier, barriers, {{plan.RanksBarrier}};
            mov.u32 takenOrdinal, 0;
            setp.ne.u32 isRemote, rank, 0;
            @!isRemote bra TAKE;
            mapa.shared::cluster.u32 takenAt, takenAt, 0;
            mapa.shared::cluster.u32 ranksBarrier, ranksBarrier, 0;
            mov.u32 takenAddress, rowCounts;
            ld.shared.u32 takenOrdinal, [takenAddress];
            barrier.cluster.wait.acquire;
            TAKE:
            shl.b32 full, stage, 4;
            add.u32 full, full, barriers;
            mad.lo.u32 stageBase, stage, {{RowGemmPlan.StageBytes}}, shared;
            ld.shared.v4.b32 {{PtxRegisters.Vector(Words)}}, [maskCursor];
            add.u32 maskCursor, maskCursor, 16;
            WAIT_TAKEN_STAGE:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [full], phase;
            @!ready bra WAIT_TAKEN_STAGE;
            or.b32 maskItem, maskWord0, maskWord1;
            or.b32 maskBit, maskWord2, maskWord3;
            or.b32 maskItem, maskItem, maskBit;
            setp.ne.and.u32 again, maskItem, 0, sumsApart;
            @!again bra {{done}};
            popc.b32 maskCount, maskWord0;
            popc.b32 maskItem, maskWord1;
            add.u32 maskCount, maskCount, maskItem;
            popc.b32 maskSum, maskWord2;
            popc.b32 maskItem, maskWord3;
            add.u32 maskSum, maskSum, maskItem;
            add.u32 maskSum, maskSum, maskCount;
            add.u32 maskSum, maskSum, takenOrdinal;
            mov.u32 maskBlock, 0;
            @isUpper add.u32 takenOrdinal, takenOrdinal, maskCount;
            @isUpper mov.u32 maskBlock, 64;
            @isUpper mov.b32 maskWord0, maskWord2;
            @isUpper mov.b32 maskWord1, maskWord3;
            {{word}}:
            setp.ne.u32 wordDone, maskWord0, 0;
            @wordDone bra {{next}};
            setp.eq.u32 wordDone, maskWord1, 0;
            @wordDone bra {{done}}_ALL;
            mov.b32 maskWord0, maskWord1;
            mov.b32 maskWord1, 0;
            add.u32 maskBlock, maskBlock, 32;
            {{next}}:
            """);
        FirstBit(ptx, "maskWord0");

        // TMA has swizzled the stage: a feature's 16-byte pieces stand at their number xor the feature's. The values stay int8: a feature's step is at hand where
        // they are multiplied.
        ptx.Add($"""
            add.u32 maskBit, maskBit, maskBlock;
            mad.lo.u32 takenAddress, takenFeature, {RowGemmPlan.BlockK}, stageBase;
            and.b32 maskItem, takenFeature, 7;
            shl.b32 maskItem, maskItem, 4;
            xor.b32 maskItem, maskItem, maskBit;
            add.u32 takenAddress, takenAddress, maskItem;
            setp.lt.u32 again, takenOrdinal, {RowGemmPlan.OutlierChunk};
            @again ld.shared.s8 maskItem, [takenAddress];
            cvt.rn.f32.s32 takenValue, maskItem;
            mad.lo.u32 takenAddress, takenOrdinal, {ColumnBytes}, takenAt;
            add.u32 takenOrdinal, takenOrdinal, 1;
            and.pred isSent, again, isRemote;
            @isSent st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [takenAddress], takenValue, [ranksBarrier];
            not.pred isSent, isRemote;
            and.pred isSent, isSent, again;
            @isSent st.shared.f32 [takenAddress], takenValue;
            bra {word};
            {done}_ALL:
            mov.u32 takenOrdinal, maskSum;
            {done}:
            bar.warp.sync 0xFFFFFFFF;
            @isLeader mbarrier.arrive.shared::cta.b64 _, [full+8];
            """);
        Ring.NextStage(ptx, plan.Stages);
        ptx.Add($"""
            sub.u32 unitsLeft, unitsLeft, 1;
            setp.ne.u32 again, unitsLeft, 0;
            @again bra TAKE;
            mbarrier.arrive.shared::cta.b64 _, [barriers+{plan.TakenBarrier}];
            bra END;
            """);
    }

    /// <summary>The bytes that the cluster's other blocks leave in this one's buffer are added to <c>total</c>.</summary>
    public static void CountOthers(PtxWriter ptx) => ptx.Add($"""
        mov.u32 takenAddress, rowCounts;
        ld.shared.u32 takenOrdinal, [takenAddress];
        ld.shared.u32 takenTotal, [takenAddress+4];
        min.u32 takenTotal, takenTotal, {RowGemmPlan.OutlierChunk};
        min.u32 maskItem, takenOrdinal, {RowGemmPlan.OutlierChunk};
        sub.u32 takenTotal, takenTotal, maskItem;
        selp.u32 takenTotal, takenTotal, 0, sumsApart;
        mad.lo.u32 total, takenTotal, {ColumnBytes}, total;
        """);

    /// <summary>
    /// The outliers' products, ascending, to the row's results, chunk after chunk.
    /// </summary>
    public static void Sum(PtxWriter ptx, RowGemmPlan plan)
    {
        Epilogue.StartSum(ptx, "outlierSum0", "acc0");
        Epilogue.StartSum(ptx, "outlierSum1", "acc2");
        ptx.Add($"""
            AWAIT_TAKEN:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [barriers+{plan.TakenBarrier}], 0;
            @!ready bra AWAIT_TAKEN;
            OUTLIER_CHUNK:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [outlierBarrier], outlierPhase;
            @!ready bra OUTLIER_CHUNK;
            ld.shared.u32 columnsLeft, [outlierBarrier+16];
            ld.shared.u32 lastChunk, [outlierBarrier+20];
            mad.lo.u32 outlierWeights, featureLocal, 4, outlierBuffer;
            add.u32 outlierRows, outlierBuffer, {RowGemmPlan.ValuesOffset};
            setp.eq.u32 again, columnsLeft, 0;
            @again bra CHUNK_SUMMED;
            OUTLIER_COLUMNS:
            """);
        for (int i = 0; i < ColumnsAtOnce; i++)
        {
            ptx.Add($"""
                ld.shared.f32 takenLow{i}, [outlierWeights+{i * ColumnBytes}];
                ld.shared.f32 takenHigh{i}, [outlierWeights+{(i * ColumnBytes) + 32}];
                ld.shared.f32 takenRow{i}, [outlierRows+{i * 4}];
                """);
        }

        for (int i = 0; i < ColumnsAtOnce; i++)
        {
            ptx.Add($"""
                setp.gt.u32 again, columnsLeft, {i};
                @again fma.rn.f32 outlierSum0, takenRow{i}, takenLow{i}, outlierSum0;
                @again fma.rn.f32 outlierSum1, takenRow{i}, takenHigh{i}, outlierSum1;
                """);
        }

        ptx.Add($"""
            add.u32 outlierRows, outlierRows, {ColumnsAtOnce * 4};
            add.u32 outlierWeights, outlierWeights, {ColumnsAtOnce * ColumnBytes};
            setp.gt.u32 again, columnsLeft, {ColumnsAtOnce};
            sub.u32 columnsLeft, columnsLeft, {ColumnsAtOnce};
            @again bra OUTLIER_COLUMNS;
            CHUNK_SUMMED:
            mbarrier.arrive.shared::cta.b64 _, [outlierBarrier+8];
            bar.warp.sync 0xFFFFFFFF;
            xor.b32 outlierPhase, outlierPhase, 1;
            setp.eq.u32 again, lastChunk, 0;
            @again bra OUTLIER_CHUNK;
            """);
        Epilogue.AddSum(ptx, "outlierSum0", "columnStep0", "acc0");
        Epilogue.AddSum(ptx, "outlierSum1", "columnStep1", "acc2");
    }

    /// <summary>The buffer; its first weights are taken from the ring where sums are apart.</summary>
    private static void LocateBuffer(PtxWriter ptx, RowGemmPlan plan)
    {
        Epilogue.ReadSumsApart(ptx, "pointer");
        ptx.Add($"""
            add.u32 outlierBuffer, shared, {plan.OutlierOffset};
            add.u32 outlierBarrier, barriers, {plan.OutlierBarrier};
            """);
    }

    /// <summary>maskBit: the number of a word's first bit, which it loses.</summary>
    private static void FirstBit(PtxWriter ptx, string word) => ptx.Add($"""
        brev.b32 maskBit, {word};
        bfind.shiftamt.u32 maskBit, maskBit;
        sub.u32 maskItem, {word}, 1;
        and.b32 {word}, {word}, maskItem;
        """);

    /// <summary>The row's value at maskBit to the buffer, in float32, where it is wanted (again).</summary>
    private static void BringValue(PtxWriter ptx, RowGemmPlan plan)
    {
        ptx.Add("mov.u32 maskItem, 0;");
        ptx.Add(plan.KeepsHalves
            ? """
                mad.lo.u32 maskBit, maskBit, 2, rowHalves;
                @again ld.shared.u16 maskItem, [maskBit];
                """
            : """
                mad.wide.u32 address, maskBit, 2, activations;
                @again ld.global.u16 maskItem, [address];
                """);
        ptx.Add(plan.Numbers.Output == ElementFormat.BFloat16
            ? "shl.b32 maskItem, maskItem, 16;\nmov.b32 takenValue, maskItem;"
            : "cvt.u16.u32 halfBits, maskItem;\ncvt.f32.f16 takenValue, halfBits;");
        ptx.Add($"@again st.shared.f32 [takenAddress+{RowGemmPlan.ValuesOffset}], takenValue;");
    }
}
