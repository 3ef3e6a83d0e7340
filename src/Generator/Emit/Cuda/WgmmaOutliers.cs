using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// How the consumers of the wgmma kernels make results of sums and add outliers. The helpers say with each tile what they left:
/// <list type="bullet">
/// <item>values and int8 weights in halves, eight columns, whose products tensor cores sum. Shared memory gives a warp 128 bytes a cycle, however many lanes ask for
/// the same, and each of its weights is needed by eight lanes: fragments have no such copies. Every product is exact, and so is a sum whose terms are multiples of
/// one power of two within 2^24 of it: then it has the bits of any chain of float32 operations. Under <c>Elements</c> the helpers see to that (<see cref="StagedOutliers"/>);
/// </item>
/// <item>values and int8 weights in float32, any number of columns, summed in a chain of fused multiply-adds from zero;</item>
/// <item>values and 16-bit weights in float32: a chain that begins at the result.</item>
/// </list>
/// A row that has no outlier in a column that another row has adds 0 * w, which leaves its bits as they are: so <c>Elements</c>' rows do not see each other.
/// </summary>
internal static class WgmmaOutliers
{
    /// <summary>Published with a buffer, beside <see cref="OutlierHelpers.LastFlag"/>: it holds halves.</summary>
    public const int HalvesFlag = 2;

    /// <summary>Published with a buffer: int8 weights, whose sums begin at zero. The tile's columns come twice, once for each half of a thread's results.</summary>
    public const int SeparateFlag = 4;

    /// <summary>Bytes of a row's eight halves.</summary>
    public const int HalvesBytes = GemmNumbers.OutlierChunk * 2;

    /// <summary>Pairs of groups of eight columns whose outlier weights are on their way while those before them are multiplied.</summary>
    private const int WeightsAhead = 4;

    public static void Declare(PtxWriter ptx, WgmmaGemmPlan plan) => ptx
        .Registers("f32", Enumerable.Range(0, WeightsAhead * 4).Select(i => $"ahead{i}").Concat(Enumerable.Range(0, plan.RowBlocks * 2).SelectMany(i => new[] { $"outlier{i}", $"nextOutlier{i}" })).ToArray())
        .Registers("f32", PtxRegisters.Names("product", 4))
        .Registers("f32", "zero")
        .Registers("b32", PtxRegisters.Names("rowHalves", plan.RowBlocks * 2))
        .Registers("b32", PtxRegisters.Names("weightHalves", 4))
        .Registers("b32", PtxRegisters.Names("kept", 4))
        .Registers("b32", "outlierWeights", "outlierRows", "outlierCursor", "columnsLeft", "flags")
        .Registers("pred", "another");

    /// <summary>The tile's sums to results, outliers included.</summary>
    public static void ScaleAndAdd(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        ptx.Add($"""
            AWAIT_OUTLIERS:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [outlierBarrier], outlierPhase;
            @!ready bra AWAIT_OUTLIERS;
            ld.shared.u32 flags, [outlierBarrier+20];
            and.b32 item0, flags, {HalvesFlag};
            setp.ne.u32 again, item0, 0;
            @!again bra SUM_CHUNKS;
            """);
        SumHalves(ptx, plan, accumulators);
        ptx.Add("bra OUTLIERS_ADDED;").Add("SUM_CHUNKS:");
        WgmmaGemm.Scale(ptx, plan, accumulators);
        ptx.Add($"""
            {(plan.PingPong ? "mov.u32 outlierRows, 0;" : "shl.b32 outlierRows, warpgroup, 6;")}
            mad.lo.u32 outlierRows, warp, 16, outlierRows;
            add.u32 outlierRows, outlierRows, laneRow;
            shl.b32 outlierRows, outlierRows, 2;
            add.u32 outlierRows, outlierRows, outlierBuffer;
            and.b32 item0, flags, {SeparateFlag};
            setp.ne.u32 again, item0, 0;
            @again bra SUM_SEPARATELY;
            """);
        SumChunks(ptx, plan, accumulators, 0, plan.RowBlocks, 0, plan.BlockN / 16);
        ptx.Add("bra OUTLIERS_ADDED;").Add("SUM_SEPARATELY:");
        SumSeparately(ptx, plan, accumulators);
        ptx.Add("OUTLIERS_ADDED:");
    }

    /// <summary>
    /// Sixteen rows by eight columns of values, eight columns by eight output features of weights an instruction, whose results lie in a warp as wgmma's do.
    /// </summary>
    private static void SumHalves(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        string[] rows = PtxRegisters.Names("rowHalves", plan.RowBlocks * 2), weights = PtxRegisters.Names("weightHalves", 4), products = PtxRegisters.Names("product", 4);
        ptx.Add($"""
            and.b32 outlierRows, lane, 15;
            mad.lo.u32 outlierRows, warp, 16, outlierRows;
            {(plan.PingPong ? "" : "mad.lo.u32 outlierRows, warpgroup, 64, outlierRows;")}
            shr.u32 item0, lane, 4;
            {(plan.RowBlocks > 1 ? "mad.lo.u32 outlierRows, item0, 64, outlierRows;" : "")}
            mad.lo.u32 outlierRows, outlierRows, {HalvesBytes}, outlierBuffer;
            mad.lo.u32 outlierWeights, lane, {HalvesBytes}, outlierBuffer;
            ldmatrix.sync.aligned.m8n8.x{rows.Length}.shared.b16 {PtxRegisters.Vector(rows)}, [outlierRows+{plan.BlockN * HalvesBytes}];
            mov.f32 zero, 0f00000000;
            """);
        for (int group = 0; group < plan.BlockN / 8; group++)
        {
            if (group % 4 == 0)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {PtxRegisters.Vector(weights)}, [outlierWeights+{group * 8 * HalvesBytes}];");
            }

            WgmmaGemm.ScaleGroup(ptx, plan, accumulators, group);
            for (int block = 0; block < plan.RowBlocks; block++)
            {
                ptx.Add($$"""
                    mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {{PtxRegisters.Vector(products)}}, {{{rows[block * 2]}}, {{rows[(block * 2) + 1]}}}, {{{weights[group % 4]}}}, {zero, zero, zero, zero};
                    """);
                WgmmaFragments.ForFragment(plan, block, group, (index, _, column) =>
                    ptx.Add($"fma.rn.f32 {accumulators[index]}, {products[index % 4]}, columnStep{column}, {accumulators[index]};"));
            }
        }

        Release(ptx);
    }

    /// <summary>
    /// Half of the results at a time wait in the staging buffer, which is just as large, while their registers hold the sums: a sum that has begun at a result could
    /// not be told from it, and there are no registers for both.
    /// </summary>
    private static void SumSeparately(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators)
    {
        string[] kept = PtxRegisters.Names("kept", 4);
        int half = accumulators.Length / 2, groups = plan.BlockN / 8;
        ptx.Add("""
            @isLeader cp.async.bulk.wait_group.read 0;
            bar.sync namedBarrier, 128;
            mad.lo.u32 elementAddress, groupThread, 16, staging;
            """);
        for (int first = 0; first < accumulators.Length; first += half)
        {
            string[] sums = accumulators.Skip(first).Take(half).ToArray();
            int firstGroup = first / 4 % groups, block = first / 4 / groups;
            for (int i = 0; i < half; i += 4)
            {
                ptx.Add($"st.shared.v4.b32 [elementAddress+{i / 4 * 128 * 16}], {PtxRegisters.Vector(sums.Skip(i).Take(4).ToArray())};");
            }

            foreach (string sum in sums)
            {
                ptx.Add($"mov.b32 {sum}, 0;");
            }

            SumChunks(ptx, plan, accumulators, block, plan.RowBlocks > 1 ? 1 : plan.RowBlocks, firstGroup / 2, half / 4 / 2);
            for (int i = 0; i < half; i += 4)
            {
                WgmmaFragments.FromLanes(ptx, "columnStep", firstGroup + (i / 4));
                ptx.Add($"ld.shared.v4.b32 {PtxRegisters.Vector(kept)}, [elementAddress+{i / 4 * 128 * 16}];");
                for (int j = 0; j < 4; j++)
                {
                    ptx.Add($"fma.rn.f32 {sums[i + j]}, {sums[i + j]}, columnStep{j % 2}, {kept[j]};");
                }
            }
        }
    }

    /// <summary>
    /// Chunks of up to eight columns, in ascending order; within a thread every element is one chain of fused multiply-adds. Weights are loaded some groups of
    /// columns ahead: with one warp a scheduler nothing else hides how long shared memory takes.
    /// </summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="plan">The tile.</param>
    /// <param name="accumulators">All that a thread holds.</param>
    /// <param name="firstBlock">The first block of 64 rows of those to sum.</param>
    /// <param name="blocks">How many there are.</param>
    /// <param name="firstPair">The first pair of groups of eight columns.</param>
    /// <param name="pairs">How many there are.</param>
    private static void SumChunks(PtxWriter ptx, WgmmaGemmPlan plan, string[] accumulators, int firstBlock, int blocks, int firstPair, int pairs)
    {
        string chunk = ptx.Label("OUTLIER_CHUNK"), columns = ptx.Label("OUTLIER_COLUMN"), summed = ptx.Label("CHUNK_SUMMED");
        int pitch = plan.BlockN * 4, rowsAt = GemmNumbers.OutlierChunk * pitch, ahead = System.Math.Min(WeightsAhead, pairs);
        IEnumerable<int> rows = Enumerable.Range(firstBlock * 2, blocks * 2);
        void LoadWeights(int pair, string predicate, int offset)
        {
            int first = pair % ahead * 4;
            ptx.Add($"{predicate}ld.shared.v4.f32 {{ahead{first}, ahead{first + 1}, ahead{first + 2}, ahead{first + 3}}}, [outlierWeights+{offset + ((firstPair + pair) * 64)}];");
        }

        ptx.Add($$"""
            {{chunk}}:
            mbarrier.try_wait.parity.shared::cta.b64 ready, [outlierBarrier], outlierPhase;
            @!ready bra {{chunk}};
            ld.shared.v2.b32 {columnsLeft, flags}, [outlierBarrier+16];
            shl.b32 outlierWeights, laneColumn, 3;
            add.u32 outlierWeights, outlierWeights, outlierBuffer;
            mov.u32 outlierCursor, outlierRows;
            setp.eq.u32 again, columnsLeft, 0;
            @again bra {{summed}};
            """);
        foreach (int row in rows)
        {
            ptx.Add($"ld.shared.f32 outlier{row}, [outlierCursor+{rowsAt + (WgmmaFragments.RowOffset(row) * 4)}];");
        }

        for (int pair = 0; pair < ahead; pair++)
        {
            LoadWeights(pair, "", 0);
        }

        ptx.Add($"""
            {columns}:
            setp.gt.u32 another, columnsLeft, 1;
            """);
        for (int pair = 0; pair < pairs; pair++)
        {
            for (int group = 0; group < 2; group++)
            {
                for (int block = firstBlock; block < firstBlock + blocks; block++)
                {
                    WgmmaFragments.ForFragment(plan, block, ((firstPair + pair) * 2) + group, (index, row, column) =>
                        ptx.Add($"fma.rn.f32 {accumulators[index]}, outlier{row}, ahead{(pair % ahead * 4) + (group * 2) + column}, {accumulators[index]};"));
                }
            }

            if (pair + ahead < pairs)
            {
                LoadWeights(pair + ahead, "", 0);
            }
            else
            {
                LoadWeights(pair + ahead - pairs, "@another ", pitch);
            }

            if (pair == 0)
            {
                foreach (int row in rows)
                {
                    ptx.Add($"@another ld.shared.f32 nextOutlier{row}, [outlierCursor+{rowsAt + ((plan.BlockM + WgmmaFragments.RowOffset(row)) * 4)}];");
                }
            }
        }

        foreach (int row in rows)
        {
            ptx.Add($"mov.f32 outlier{row}, nextOutlier{row};");
        }

        ptx.Add($"""
            add.u32 outlierCursor, outlierCursor, {plan.BlockM * 4};
            add.u32 outlierWeights, outlierWeights, {pitch};
            sub.u32 columnsLeft, columnsLeft, 1;
            @another bra {columns};
            {summed}:
            """);
        Release(ptx);
        ptx.Add($"""
            and.b32 flags, flags, {OutlierHelpers.LastFlag};
            setp.eq.u32 again, flags, 0;
            @again bra {chunk};
            """);
    }

    /// <summary>Gives the buffer back to the helpers.</summary>
    private static void Release(PtxWriter ptx) => ptx.Add("""
        mbarrier.arrive.shared::cta.b64 _, [outlierBarrier+8];
        bar.warp.sync 0xFFFFFFFF;
        xor.b32 outlierPhase, outlierPhase, 1;
        """);
}
