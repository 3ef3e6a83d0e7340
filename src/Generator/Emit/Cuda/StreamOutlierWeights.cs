using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// A single row's outliers are multiplied by int8 weights that pass through the block's ring: the consumers take them from there, dequantized, where fetching
/// them from memory once more would cost an access of its own for every output feature and column, in the middle of the stream. The first columns of a tile,
/// as many as its buffer holds; the helpers gather the others, and 16-bit weights.
/// </summary>
internal static class StreamOutlierWeights
{
    public static void Declare(PtxWriter ptx) => ptx
        .Registers("b32", "takenOrdinal", "takenAt", "takenFeature", "takenAddress", "maskCursor", "maskItem", "maskLimit", "maskBit")
        .Registers("b32", Words)
        .Registers("f32", "takenScale", "takenValue")
        .Registers("pred", "takesWeights", "takesNone", "isTaker", "wordDone");

    private static readonly string[] Words = ["maskWord0", "maskWord1", "maskWord2", "maskWord3"];

    /// <summary>takesWeights: whether the tile's whole K passes through rings whose blocks reach the buffer, those of this block or of its cluster.</summary>
    public static void Decide(PtxWriter ptx, string hasOriginals) => ptx.Add($"""
        setp.eq.u32 takesWeights, segmentUnits, kBlocks;
        not.pred takesNone, isAlone;
        or.pred takesWeights, takesWeights, takesNone;
        not.pred takesNone, {hasOriginals};
        and.pred takesWeights, takesWeights, takesNone;
        """);

    /// <summary>
    /// Before a segment's K blocks: the ordinal of its first outlier column, and where this thread's feature of the first block's buffer is, which all threads
    /// have read for the tile before.
    /// </summary>
    public static void Start(PtxWriter ptx)
    {
        string count = ptx.Label("COUNT_AHEAD"), counted = ptx.Label("COUNTED_AHEAD"), none = ptx.Label("TAKE_NONE");
        ptx.Argument("pointer", nameof(GemmArguments.Originals), "u64").Add("setp.ne.u64 again, pointer, 0;");
        Decide(ptx, "again");
        ptx.Argument("pointer", nameof(GemmArguments.ColumnSteps), "u64").Add($"""
            bar.sync 1, 128;
            mov.u32 takenOrdinal, 0;
            mov.u32 maskCursor, rowMask;
            @!takesWeights bra {none};
            and.b32 takenFeature, groupThread, {StreamGemmPlan.BlockN - 1};
            setp.lt.u32 isTaker, groupThread, {StreamGemmPlan.BlockN};
            add.u32 maskItem, takenFeature, tileColumn;
            mul.wide.u32 pointerRow, maskItem, 4;
            add.u64 pointer, pointer, pointerRow;
            ld.global.nc.f32 takenScale, [pointer];
            mad.lo.u32 takenAt, takenFeature, 4, outlierBuffer;
            @!isAlone mapa.shared::cluster.u32 takenAt, takenAt, 0;
            mul.lo.u32 maskLimit, tile, kBlocks;
            sub.u32 maskLimit, unit, maskLimit;
            shl.b32 maskLimit, maskLimit, 2;
            mad.lo.u32 maskCursor, maskLimit, 4, rowMask;
            mov.u32 maskItem, lane;
            {count}:
            setp.ge.u32 again, maskItem, maskLimit;
            @again bra {counted};
            mad.lo.u32 takenAddress, maskItem, 4, rowMask;
            ld.shared.u32 maskBit, [takenAddress];
            popc.b32 maskBit, maskBit;
            add.u32 takenOrdinal, takenOrdinal, maskBit;
            add.u32 maskItem, maskItem, 32;
            bra {count};
            {counted}:
            redux.sync.add.s32 takenOrdinal, takenOrdinal, 0xFFFFFFFF;
            {none}:
            """);
    }

    /// <summary>The outlier columns of the K block at stageBase, while it is multiplied. Few blocks have any.</summary>
    public static void Take(PtxWriter ptx)
    {
        string done = ptx.Label("TAKEN");
        ptx.Add($$"""
            ld.shared.v4.b32 {{{string.Join(", ", Words)}}}, [maskCursor];
            add.u32 maskCursor, maskCursor, 16;
            or.b32 maskItem, maskWord0, maskWord1;
            or.b32 maskBit, maskWord2, maskWord3;
            or.b32 maskItem, maskItem, maskBit;
            setp.ne.and.u32 again, maskItem, 0, takesWeights;
            @!again bra {{done}};
            """);
        for (int word = 0; word < Words.Length; word++)
        {
            string column = ptx.Label("TAKE_COLUMN"), next = ptx.Label("NEXT_MASK_WORD");

            // TMA has swizzled the stage: a feature's 16-byte pieces stand at their number xor the feature's.
            ptx.Add($"""
                {column}:
                setp.eq.u32 wordDone, {Words[word]}, 0;
                @wordDone bra {next};
                brev.b32 maskBit, {Words[word]};
                bfind.shiftamt.u32 maskBit, maskBit;
                sub.u32 maskItem, {Words[word]}, 1;
                and.b32 {Words[word]}, {Words[word]}, maskItem;
                add.u32 maskBit, maskBit, {word * 32};
                mad.lo.u32 takenAddress, takenFeature, {StreamGemmPlan.BlockK}, stageBase;
                and.b32 maskItem, takenFeature, 7;
                shl.b32 maskItem, maskItem, 4;
                xor.b32 maskItem, maskItem, maskBit;
                add.u32 takenAddress, takenAddress, maskItem;
                setp.lt.and.u32 again, takenOrdinal, {GemmNumbers.RowOutlierChunk}, isTaker;
                @again ld.shared.s8 maskItem, [takenAddress];
                cvt.rn.f32.s32 takenValue, maskItem;
                mul.rn.f32 takenValue, takenValue, takenScale;
                mad.lo.u32 takenAddress, takenOrdinal, {StreamGemmPlan.BlockN * 4}, takenAt;
                @again st.shared::cluster.f32 [takenAddress], takenValue;
                add.u32 takenOrdinal, takenOrdinal, 1;
                bra {column};
                {next}:
                """);
        }

        // The stage is not given back before all have read it.
        ptx.Add("bar.sync 1, 128;").Add($"{done}:");
    }

    /// <summary>What this block's threads have taken is there for all of them.</summary>
    public static void Meet(PtxWriter ptx) => ptx.Add("bar.sync 1, 128;");
}
