using System.Globalization;
using KernelGen.Generator.Emit.Cuda.Decoder;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The norm of a single row of the residual stream, to which is added first, in the block that multiplies it: the operations of <see cref="RowKernel"/> in its
/// order. All of a thread's values stay in registers.
/// </summary>
internal static class RowNorm
{
    /// <summary>The row normalized and rounded to f16 in the raw registers and, for the outliers, in shared memory.</summary>
    public static void Normalize(PtxWriter ptx, RowGemmPlan plan)
    {
        int groups = plan.RowGroups;
        ptx.Registers("b64", "residual", "sumAt", "first", "second", "weight", "biasVector")
           .Registers("b32", "norm", "warps", "isElsewhere")
           .Registers("f32", "sum", "mean", "factor", "epsilon", "widthFloat", "term")
           .Registers("f32", PtxRegisters.Names("y", 8))
           .Registers("f32", PtxRegisters.Names("sum", groups))
           .Registers("pred", "hasFirst", "hasSecond", "hasWeight", "hasBiasVector", "isLayer", "writes")
           .Registers("pred", PtxRegisters.Names("isValue", groups));
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
            ptx.Add($"@isValue{i} ld.global.v4.f32 {PtxRegisters.Vector(V(i).Take(4).ToArray())}, [pointer];")
               .Add($"@isValue{i} ld.global.v4.f32 {PtxRegisters.Vector(V(i).Skip(4).ToArray())}, [pointer+16];")
               .Add($"and.pred present, hasFirst, isValue{i};");
            At(ptx, i, "first", 2);
            ptx.Add($"@present ld.global.v4.b32 {PtxRegisters.Vector(HeldRow.Raw(i))}, [pointer];")
               .Add($"and.pred present, hasSecond, isValue{i};");
            At(ptx, i, "second", 2);
            ptx.Add($"@present ld.global.v4.b32 {PtxRegisters.Vector(Second(i))}, [pointer];");
        }

        AddTo(ptx, groups, "hasFirst", HeldRow.Raw);
        AddTo(ptx, groups, "hasSecond", Second);
        string squares = ptx.Label("SQUARES"), summed = ptx.Label("SUMMED"), variance = ptx.Label("VARIANCE");
        for (int i = 0; i < groups; i++)
        {
            At(ptx, i, "sumAt", 4);
            ptx.Add($"""
                and.pred present, writes, isValue{i};
                @present st.global.v4.f32 [pointer], {PtxRegisters.Vector(V(i).Take(4).ToArray())};
                @present st.global.v4.f32 [pointer+16], {PtxRegisters.Vector(V(i).Skip(4).ToArray())};
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
                ptx.Add($"@inRow{i} st.shared.v4.b32 [address32+{i * RowGemmPlan.RowThreads * 16}], {PtxRegisters.Vector(HeldRow.Raw(i))};");
            }
        }
    }

    private static string[] V(int group) => PtxRegisters.Names($"v{Number(group)}_", 8);

    private static string[] W(int group) => PtxRegisters.Names($"w{Number(group)}_", 8);

    private static string[] B(int group) => PtxRegisters.Names($"b{Number(group)}_", 8);

    private static string[] Second(int group) => PtxRegisters.Names($"second{Number(group)}_", 4);

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
            @present ld.global.nc.v4.f32 {PtxRegisters.Vector(values.Take(4).ToArray())}, [pointer];
            @present ld.global.nc.v4.f32 {PtxRegisters.Vector(values.Skip(4).ToArray())}, [pointer+16];
            """);
    }

    private static void AddTo(PtxWriter ptx, int groups, string has, Func<int, string[]> addends)
    {
        string[] y = PtxRegisters.Names("y", 8);
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
    private static void RowSum(PtxWriter ptx, int groups, string sums)
    {
        ptx.Add($"mov.u32 address32, {sums};").Add("mad.lo.u32 scratch, rowWarp, 4, address32;");
        for (int i = 0; i < groups; i++)
        {
            RowKernel.WarpSum(ptx, $"sum{i}");
            ptx.Add($"@isRowLeader st.shared.f32 [scratch+{i * RowQuantization.Warps * 4}], sum{i};");
        }

        ptx.Add($"""
            bar.sync {RowQuantization.RowBarrier}, {RowGemmPlan.RowThreads};
            setp.lt.u32 present, rowLane, warps;
            mad.lo.u32 scratch, rowLane, 4, address32;
            mov.f32 sum, 0f00000000;
            @present ld.shared.f32 sum, [scratch];
            """);
        RowKernel.WarpSum(ptx, "sum");
    }
}
