using KernelGen.Generator.Emit.Cuda.Decoder;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// A single row of A on its way to the block's shared memory as int8. The operations and their order are those of <see cref="RegisterQuantizeKernel"/> and
/// <see cref="RowKernel"/>, so the bits are theirs: a block of the latter has a thread for each of this one's groups.
/// </summary>
internal static class RowQuantization
{
    /// <summary>Named barriers of the threads that quantize, and of those and the threads that gather outliers.</summary>
    public const int RowBarrier = 2;

    private const int RowDoneBarrier = 3;

    /// <summary>Warps that quantize.</summary>
    public const int Warps = RowGemmPlan.RowThreads / 32;

    /// <summary>Registers that the rest of the kernel finds the row by, and shared memory that the row's threads meet in.</summary>
    public static void Declare(PtxWriter ptx, RowGemmPlan plan)
    {
        ptx.Add($"""
            .shared .align 8 .b64 rowLargest[{Warps}];
            {(plan.Numbers.HasOutliers ? ".shared .align 8 .b32 rowCounts[2];" : "")}
            {(plan.Normalizes ? ".shared .align 4 .f32 rowSums[32];\n.shared .align 4 .f32 rowSquares[32];" : "")}
            """)
           .Registers("b32", "rowAt", "rowMask", "rowHalves")
           .Registers("f32", "rowStep");
    }

    /// <summary>Where the row lies.</summary>
    public static void Locate(PtxWriter ptx, RowGemmPlan plan) => ptx.Add($"""
        add.u32 rowAt, shared, {plan.RowOffset};
        add.u32 rowMask, rowAt, kPadded;
        shr.u32 rowHalves, kPadded, 3;
        add.u32 rowHalves, rowHalves, rowMask;
        """);

    /// <summary>The threads that gather outliers wait for the row's mask here.</summary>
    public static void AwaitMask(PtxWriter ptx) => ptx.Add($"bar.sync {RowDoneBarrier}, {RowGemmPlan.RowThreads + OutlierHelpers.Threads};");

    /// <summary>
    /// The threads from the second warpgroup on wait for the kernel ahead, quantize the row and meet: <c>rowStep</c> is its step, NaN where it is not finite.
    /// </summary>
    public static void Quantize(PtxWriter ptx, RowGemmPlan plan)
    {
        bool outliers = plan.Numbers.HasOutliers, isNorm = plan.Normalizes;
        int groups = plan.RowGroups;
        ptx.Add("{")
           .Registers("b32", "rowThread", "rowLane", "rowWarp", "group", "groups", "groupFirst", "groupEnd", "element", "scratch", "address32", "k", "thresholds", "largest", "kept", "largestPair", "keptPair")
           .Registers("b32", "infinity", "magnitude", "keeps", "bits", "groupOutliers", "packedLow", "packedHigh", "zeroPoint")
           .Registers("b32", Enumerable.Range(0, (groups + 3) / 4).Select(static i => $"marks{i}").ToArray())
           .Registers("b64", "input", "offset", "pointer")
           .Registers("f32", "high", "prescale", "scale", "scaledHigh")
           .Registers("f32", PtxRegisters.Names("x", 8))
           .Registers("b16", "halfLow", "halfHigh")
           .Registers("pred", "present", "full", "isRowLeader", "isFinite", "isZero")
           .Registers("pred", PtxRegisters.Names("inRow", groups));
        for (int i = 0; i < groups; i++)
        {
            ptx.Registers("b32", HeldRow.Raw(i));
        }

        ptx.Argument<RowGemmArguments>("k", nameof(RowGemmArguments.K), "u32", "rowArgs")
           .Argument<RowGemmArguments>("thresholds", nameof(RowGemmArguments.ThresholdPair), "u32", "rowArgs")
           .Add($"""
            sub.u32 rowThread, thread, 128;
            and.b32 rowLane, rowThread, 31;
            shr.u32 rowWarp, rowThread, 5;
            setp.eq.u32 isRowLeader, rowLane, 0;
            shr.u32 groups, kPadded, 3;
            mov.u32 largestPair, 0;
            mov.u32 keptPair, 0;
            {(outliers ? "mov.u32 address32, rowCounts;\nsetp.eq.u32 present, rowThread, 0;\n@present st.shared.b64 [address32], 0;" : "")}
            mov.u32 infinity, {(plan.Numbers.Output == ElementFormat.BFloat16 ? "0x7F80" : "0x7C00")};
            """);
        LocateOwn(ptx);
        if (isNorm)
        {
            RowNorm.Normalize(ptx, plan);
        }
        else
        {
            ptx.Argument("input", nameof(GemmArguments.Activations), "u64").Add("griddepcontrol.wait;");
            for (int i = 0; i < groups; i++)
            {
                ptx.Add($"add.u32 group, rowThread, {i * RowGemmPlan.RowThreads};");
                HeldRow.LoadWhole(ptx, i);
                if (outliers && plan.KeepsHalves)
                {
                    ptx.Add("mad.lo.u32 address32, group, 16, rowHalves;")
                       .Add($"@inRow{i} st.shared.v4.b32 [address32], {PtxRegisters.Vector(HeldRow.Raw(i))};");
                }
            }
        }

        for (int i = 0; i < (groups + 3) / 4; i++)
        {
            ptx.Add($"mov.u32 marks{i}, 0;");
        }

        for (int i = 0; i < groups; i++)
        {
            string measured = ptx.Label("GROUP_MEASURED");
            ptx.Add($"@!inRow{i} bra {measured};").Add("mov.u32 groupOutliers, 0;");
            HeldRow.Measure(ptx, plan.Numbers.Output, i, byThreshold: outliers, excludes: outliers);
            if (outliers)
            {
                ptx.Add($"bfi.b32 marks{i / 4}, groupOutliers, marks{i / 4}, {i % 4 * 8}, 8;");
            }

            ptx.Add($"{measured}:");
        }

        Reduce(ptx, outliers);
        ptx.Add(plan.Numbers.Output == ElementFormat.BFloat16
            ? "shl.b32 kept, kept, 16;\nmov.b32 high, kept;"
            : "cvt.u16.u32 halfLow, kept;\ncvt.f32.f16 high, halfLow;");
        QuantizeKernel.SymmetricFactors(ptx);
        ptx.Add("""
            selp.f32 rowStep, rowStep, 0f7FC00000, isFinite;
            mad.lo.u32 address32, rowThread, 8, rowAt;
            """);
        for (int i = 0; i < groups; i++)
        {
            string beyond = ptx.Label("BEYOND_ROW");
            ptx.Add($"""
                setp.le.s32 present, groupFirst, {i * RowGemmPlan.RowThreads};
                setp.gt.and.s32 present, groupEnd, {i * RowGemmPlan.RowThreads}, present;
                @!present bra {beyond};
                """);
            HeldRow.Quantize(ptx, plan.Numbers.Output, i);
            ptx.Add($$"""
                selp.b32 packedLow, packedLow, 0, isFinite;
                selp.b32 packedHigh, packedHigh, 0, isFinite;
                st.shared.v2.b32 [address32+{{i * RowGemmPlan.RowThreads * 8}}], {packedLow, packedHigh};
                {{beyond}}:
                """);
        }

        if (outliers)
        {
            StoreMask(ptx, groups);
            Count(ptx, groups);
        }

        ptx.Add($"""
            fence.proxy.async.shared::cta;
            {(outliers ? $"bar.arrive {RowDoneBarrier}, {RowGemmPlan.RowThreads + OutlierHelpers.Threads};" : "")}
            bar.sync {RowBarrier}, {RowGemmPlan.RowThreads};
            """).Add("}");
    }

    /// <summary>groupFirst and groupEnd: the groups that this block multiplies, all but where a cluster's blocks share K, less this thread's number.</summary>
    private static void LocateOwn(PtxWriter ptx) => ptx.Add("""
        shl.b32 groupFirst, ownFirst, 4;
        shl.b32 groupEnd, ownEnd, 4;
        sub.u32 groupFirst, groupFirst, rowThread;
        sub.u32 groupEnd, groupEnd, rowThread;
        """);

    /// <summary>largest, kept and isFinite of the row to all its threads.</summary>
    private static void Reduce(PtxWriter ptx, bool outliers)
    {
        HeldRow.WarpMaximum(ptx, "largest", "largestPair");
        if (outliers)
        {
            HeldRow.WarpMaximum(ptx, "kept", "keptPair");
        }
        else
        {
            ptx.Add("mov.u32 kept, largest;");
        }

        ptx.Add($$"""
            mov.u32 address32, rowLargest;
            mad.lo.u32 scratch, rowWarp, 8, address32;
            @isRowLeader st.shared.v2.b32 [scratch], {largest, kept};
            bar.sync {{RowBarrier}}, {{RowGemmPlan.RowThreads}};
            mov.u32 largest, 0;
            mov.u32 kept, 0;
            setp.lt.u32 present, rowLane, {{Warps}};
            mad.lo.u32 scratch, rowLane, 8, address32;
            @present ld.shared.v2.b32 {largest, kept}, [scratch];
            redux.sync.max.u32 largest, largest, 0xFFFFFFFF;
            redux.sync.max.u32 kept, kept, 0xFFFFFFFF;
            setp.lt.u32 isFinite, largest, infinity;
            """);
    }

    /// <summary>A bit per column, ascending; none where the row is not finite.</summary>
    private static void StoreMask(PtxWriter ptx, int groups)
    {
        ptx.Add("add.u32 address32, rowMask, rowThread;");
        for (int i = 0; i < (groups + 3) / 4; i++)
        {
            ptx.Add($"selp.b32 marks{i}, marks{i}, 0, isFinite;");
        }

        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"shr.u32 bits, marks{i / 4}, {i % 4 * 8};").Add($"@inRow{i} st.shared.u8 [address32+{i * RowGemmPlan.RowThreads}], bits;");
        }
    }

    /// <summary>
    /// This thread's outliers, of the row and of a part of it, to the counts that a cluster's blocks need: the part ahead of a block's own K, and for the first
    /// block, which has none, its own.
    /// </summary>
    private static void Count(PtxWriter ptx, int groups)
    {
        string alone = ptx.Label("COUNTS_NOTHING");
        ptx.Add($"""
            @isAlone bra {alone};
            mov.u32 keeps, 0;
            mov.u32 magnitude, 0;
            setp.eq.u32 isZero, rank, 0;
            selp.b32 group, groupEnd, groupFirst, isZero;
            """);
        for (int first = 0; first < groups; first += 4)
        {
            ptx.Add("mov.u32 scratch, 0;");
            for (int i = first; i < Math.Min(groups, first + 4); i++)
            {
                ptx.Add($"setp.gt.s32 present, group, {i * RowGemmPlan.RowThreads};").Add($"@present or.b32 scratch, scratch, 0x{0xFFu << (8 * (i - first)):X8};");
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
            redux.sync.add.s32 keeps, keeps, 0xFFFFFFFF;
            redux.sync.add.s32 magnitude, magnitude, 0xFFFFFFFF;
            mov.u32 address32, rowCounts;
            @isRowLeader red.shared.add.u32 [address32], keeps;
            @isRowLeader red.shared.add.u32 [address32+4], magnitude;
            {alone}:
            """);
    }
}
