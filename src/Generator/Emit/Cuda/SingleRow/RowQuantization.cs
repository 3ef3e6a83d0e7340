using System.Globalization;
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
    private const int RowBarrier = 2, RowDoneBarrier = 3;

    private const int Warps = RowGemmPlan.RowThreads / 32;

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
           .Registers("f32", DecoderFrame.Names("x", 8))
           .Registers("b16", "halfLow", "halfHigh")
           .Registers("pred", "present", "full", "isRowLeader", "isFinite", "isZero")
           .Registers("pred", DecoderFrame.Names("inRow", groups));
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
            Normalize(ptx, plan);
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
                       .Add($"@inRow{i} st.shared.v4.b32 [address32], {DecoderFrame.Vector(HeldRow.Raw(i))};");
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

    /// <summary>The row normalized and rounded to f16 in the raw registers and, for the outliers, in shared memory.</summary>
    private static void Normalize(PtxWriter ptx, RowGemmPlan plan)
    {
        int groups = plan.RowGroups;
        ptx.Registers("b64", "residual", "sumAt", "first", "second", "weight", "biasVector")
           .Registers("b32", "norm", "warps", "isElsewhere")
           .Registers("f32", "sum", "mean", "factor", "epsilon", "widthFloat", "term")
           .Registers("f32", DecoderFrame.Names("y", 8))
           .Registers("f32", DecoderFrame.Names("sum", groups))
           .Registers("pred", "hasFirst", "hasSecond", "hasWeight", "hasBiasVector", "isLayer", "writes")
           .Registers("pred", DecoderFrame.Names("isValue", groups));
        for (int i = 0; i < groups; i++)
        {
            ptx.Registers("f32", V(i)).Registers("f32", W(i)).Registers("f32", B(i)).Registers("b32", Second(i));
        }

        ptx.Argument<RowGemmArguments>("residual", nameof(RowGemmArguments.Residual), "u64", "rowArgs")
           .Argument<RowGemmArguments>("sumAt", nameof(RowGemmArguments.Sum), "u64", "rowArgs")
           .Argument<RowGemmArguments>("first", nameof(RowGemmArguments.First), "u64", "rowArgs")
           .Argument<RowGemmArguments>("second", nameof(RowGemmArguments.Second), "u64", "rowArgs")
           .Argument<RowGemmArguments>("weight", nameof(RowGemmArguments.Weight), "u64", "rowArgs")
           .Argument<RowGemmArguments>("biasVector", nameof(RowGemmArguments.Bias), "u64", "rowArgs")
           .Argument<RowGemmArguments>("norm", nameof(RowGemmArguments.Norm), "u32", "rowArgs")
           .Argument<RowGemmArguments>("epsilon", nameof(RowGemmArguments.Epsilon), "f32", "rowArgs")
           .Add($"""
            setp.ne.u64 hasFirst, first, 0;
            setp.ne.u64 hasSecond, second, 0;
            setp.ne.u64 hasWeight, weight, 0;
            setp.ne.u64 hasBiasVector, biasVector, 0;
            setp.eq.u32 isLayer, norm, {(int)CudaNorm.Layer};
            cvt.rn.f32.u32 widthFloat, k;
            add.u32 warps, groups, 31;
            shr.u32 warps, warps, 5;
            mov.u32 isElsewhere, %ctaid.x;
            setp.ne.u64 writes, sumAt, 0;
            setp.eq.and.u32 writes, isElsewhere, 0, writes;
            """);
        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"""
                add.u32 group, rowThread, {i * RowGemmPlan.RowThreads};
                setp.lt.u32 inRow{i}, group, groups;
                shl.b32 element, group, 3;
                setp.lt.u32 isValue{i}, element, k;
                """);
            LoadVector(ptx, "weight", "hasWeight", i, W(i), 1);
            LoadVector(ptx, "biasVector", "hasBiasVector", i, B(i), 0);
        }

        ptx.Add("griddepcontrol.wait;");
        for (int i = 0; i < groups; i++)
        {
            Clear(ptx, V(i), "f32");
            Clear(ptx, HeldRow.Raw(i), "b32");
            Clear(ptx, Second(i), "b32");
            At(ptx, i, "residual", 4);
            ptx.Add($"@isValue{i} ld.global.v4.f32 {DecoderFrame.Vector(V(i).Take(4).ToArray())}, [pointer];")
               .Add($"@isValue{i} ld.global.v4.f32 {DecoderFrame.Vector(V(i).Skip(4).ToArray())}, [pointer+16];")
               .Add($"and.pred present, hasFirst, isValue{i};");
            At(ptx, i, "first", 2);
            ptx.Add($"@present ld.global.v4.b32 {DecoderFrame.Vector(HeldRow.Raw(i))}, [pointer];")
               .Add($"and.pred present, hasSecond, isValue{i};");
            At(ptx, i, "second", 2);
            ptx.Add($"@present ld.global.v4.b32 {DecoderFrame.Vector(Second(i))}, [pointer];");
        }

        AddTo(ptx, groups, "hasFirst", HeldRow.Raw);
        AddTo(ptx, groups, "hasSecond", Second);
        string squares = ptx.Label("SQUARES"), summed = ptx.Label("SUMMED"), variance = ptx.Label("VARIANCE");
        for (int i = 0; i < groups; i++)
        {
            At(ptx, i, "sumAt", 4);
            ptx.Add($"""
                and.pred present, writes, isValue{i};
                @present st.global.v4.f32 [pointer], {DecoderFrame.Vector(V(i).Take(4).ToArray())};
                @present st.global.v4.f32 [pointer+16], {DecoderFrame.Vector(V(i).Skip(4).ToArray())};
                mov.f32 sum{i}, 0f00000000;
                """);
        }

        ptx.Add("mov.f32 mean, 0f00000000;").Add($"@!isLayer bra {squares};");
        ForValues(ptx, groups, static (i, v) => $"add.rn.f32 sum{i}, sum{i}, {v};");
        ptx.Add($"bra {summed};").Add($"{squares}:");
        ForValues(ptx, groups, static (i, v) => $"fma.rn.f32 sum{i}, {v}, {v}, sum{i};");
        ptx.Add($"{summed}:");
        RowSum(ptx, groups, "rowSums");
        ptx.Add($"@!isLayer bra {variance};").Add("div.rn.f32 mean, sum, widthFloat;");
        for (int i = 0; i < groups; i++)
        {
            ptx.Add($"mov.f32 sum{i}, 0f00000000;");
        }

        ForValues(ptx, groups, static (i, v) => $"""
            sub.rn.f32 term, {v}, mean;
            @!isValue{i} mov.f32 term, 0f00000000;
            fma.rn.f32 sum{i}, term, term, sum{i};
            """);
        RowSum(ptx, groups, "rowSquares");
        ptx.Add($"""
            {variance}:
            div.rn.f32 sum, sum, widthFloat;
            add.rn.f32 sum, sum, epsilon;
            sqrt.rn.f32 sum, sum;
            rcp.rn.f32 factor, sum;
            mad.lo.u32 address32, rowThread, 16, rowHalves;
            """);
        for (int i = 0; i < groups; i++)
        {
            string beyond = ptx.Label("NO_VALUES");
            ptx.Add($"@!isValue{i} bra {beyond};");
            for (int j = 0; j < RowTile.Group; j++)
            {
                ptx.Add($"""
                    sub.rn.f32 {V(i)[j]}, {V(i)[j]}, mean;
                    mul.rn.f32 {V(i)[j]}, {V(i)[j]}, factor;
                    fma.rn.f32 {V(i)[j]}, {V(i)[j]}, {W(i)[j]}, {B(i)[j]};
                    """);
            }

            ptx.Add($"{beyond}:").Narrow(V(i), HeldRow.Raw(i));
            if (plan.Numbers.HasOutliers)
            {
                ptx.Add($"@inRow{i} st.shared.v4.b32 [address32+{i * RowGemmPlan.RowThreads * 16}], {DecoderFrame.Vector(HeldRow.Raw(i))};");
            }
        }
    }

    private static string[] V(int group) => DecoderFrame.Names($"v{Number(group)}_", 8);

    private static string[] W(int group) => DecoderFrame.Names($"w{Number(group)}_", 8);

    private static string[] B(int group) => DecoderFrame.Names($"b{Number(group)}_", 8);

    private static string[] Second(int group) => DecoderFrame.Names($"second{Number(group)}_", 4);

    private static string Number(int group) => group.ToString(CultureInfo.InvariantCulture);

    private static void Clear(PtxWriter ptx, string[] registers, string type)
    {
        foreach (string register in registers)
        {
            ptx.Add($"mov.{type} {register}, {(type == "f32" ? "0f00000000" : "0")};");
        }
    }

    /// <summary>pointer: this thread's i-th group of a vector.</summary>
    private static void At(PtxWriter ptx, int i, string vector, int bytes) => ptx.Add($"""
        add.u32 group, rowThread, {i * RowGemmPlan.RowThreads};
        mul.wide.u32 pointer, group, {RowTile.Group * bytes};
        add.u64 pointer, pointer, {vector};
        """);

    private static void LoadVector(PtxWriter ptx, string source, string has, int i, string[] values, float otherwise)
    {
        foreach (string value in values)
        {
            ptx.Add($"mov.f32 {value}, {PtxWriter.F32(otherwise)};");
        }

        At(ptx, i, source, 4);
        ptx.Add($"""
            and.pred present, {has}, isValue{i};
            @present ld.global.nc.v4.f32 {DecoderFrame.Vector(values.Take(4).ToArray())}, [pointer];
            @present ld.global.nc.v4.f32 {DecoderFrame.Vector(values.Skip(4).ToArray())}, [pointer+16];
            """);
    }

    private static void AddTo(PtxWriter ptx, int groups, string has, Func<int, string[]> addends)
    {
        string[] y = DecoderFrame.Names("y", 8);
        string none = ptx.Label("NOTHING_TO_ADD");
        ptx.Add($"@!{has} bra {none};");
        for (int i = 0; i < groups; i++)
        {
            ptx.Widen(addends(i), y);
            for (int j = 0; j < y.Length; j++)
            {
                ptx.Add($"add.rn.f32 {V(i)[j]}, {V(i)[j]}, {y[j]};");
            }
        }

        ptx.Add($"{none}:");
    }

    private static void ForValues(PtxWriter ptx, int groups, Func<int, string, string> body)
    {
        for (int i = 0; i < groups; i++)
        {
            foreach (string v in V(i))
            {
                ptx.Add(body(i, v));
            }
        }
    }

    /// <summary>The sum of all threads' sums of groups, in the order in which <see cref="RowKernel"/> adds those of its threads, to <c>sum</c>.</summary>
    private static void RowSum(PtxWriter ptx, int groups, string scratch)
    {
        ptx.Add($"mov.u32 address32, {scratch};").Add("mad.lo.u32 scratch, rowWarp, 4, address32;");
        for (int i = 0; i < groups; i++)
        {
            WarpSum(ptx, $"sum{i}");
            ptx.Add($"@isRowLeader st.shared.f32 [scratch+{i * Warps * 4}], sum{i};");
        }

        ptx.Add($"""
            bar.sync {RowBarrier}, {RowGemmPlan.RowThreads};
            setp.lt.u32 present, rowLane, warps;
            mad.lo.u32 scratch, rowLane, 4, address32;
            mov.f32 sum, 0f00000000;
            @present ld.shared.f32 sum, [scratch];
            """);
        WarpSum(ptx, "sum");
    }

    private static void WarpSum(PtxWriter ptx, string sum)
    {
        for (int distance = 16; distance > 0; distance /= 2)
        {
            ptx.Add($"""
                shfl.sync.bfly.b32 term, {sum}, {distance}, 31, 0xFFFFFFFF;
                add.rn.f32 {sum}, {sum}, term;
                """);
        }
    }
}
