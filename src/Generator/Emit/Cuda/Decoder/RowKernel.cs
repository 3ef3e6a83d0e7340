using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// A norm or a gate and what follows it, a thread block per row. The row is read once, in f32; every thread comes back to the values that it brought
/// itself, so only the sums over the row need barriers. A group of eight values stays in registers; where a thread has several (rows of more
/// than 8,192), they wait in shared memory. What is quantized is the row as rounded to f16, by the code of <see cref="QuantizeKernel"/>.
/// </summary>
internal static class RowKernel
{
    private static readonly string[] X = Names("x", 8), Y = Names("y", 8), W = Names("w", 8), B = Names("b", 8), Raw = Names("raw", 4), SecondRaw = ["raw4", "raw5", "raw6", "raw7"];

    public static string Emit(DecoderKernelPlan plan, RowPlan row)
    {
        QuantizePlan quantize = new(
            row.Sink == RowSink.Mark ? QuantizeStage.Detect : QuantizeStage.Quantize,
            ElementFormat.Float16,
            row.Sink switch { RowSink.QuantizeElements => OutlierPolicy.Elements, RowSink.QuantizeColumns => OutlierPolicy.Columns, _ => OutlierPolicy.None },
            row.ZeroPoint,
            false,
            plan.Capability);
        PtxWriter ptx = Begin<RowArguments>(plan, 1024, dynamicShared: true);
        QuantizeKernel.Declare(ptx);
        Epilogue.Declare(ptx);
        ptx.Add("""
            .shared .align 4 .f32 sumScratch[32];
            .shared .align 4 .f32 squareScratch[32];
            """)
           .Registers("b32", "function", "replace", "position", "strideFirst", "strideSecond", "strideOutput", "item")
           .Registers("b64", "residual", "sumAt", "first", "second", "weight", "biasAt", "outputAt", "positions", "rowOffset", "address")
           .Registers("f32", "sum", "mean", "factor", "epsilon", "widthFloat", "term")
           .Registers("f32", Y).Registers("f32", W).Registers("f32", B)
           .Registers("b16", "halfLow", "halfHigh")
           .Registers("pred", "isActive", "hasFirst", "hasSecond", "hasWeight", "hasBiasRow", "hasOutput", "isLayer", "isPlain", "inRow", "writes", "replaces", "spans")
           .LaunchNext(plan);
        Load(ptx, row);
        bool lists = row.Sink >= RowSink.Quantize && QuantizeKernel.ListsRows(quantize);
        if (lists)
        {
            OutlierRowList.Declare(ptx, rowsPerBlock: 1);
            ptx.Argument<RowArguments>("rowOutliers", nameof(RowArguments.RowOutliers), "u64")
               .Argument<RowArguments>("rowOutlierPitch", nameof(RowArguments.RowOutlierPitch), "u32");
            OutlierRowList.Start(ptx, rowInBlock: null);
        }

        ptx.WaitForPrevious(plan).Add($"""
            mov.u32 position, 0;
            setp.ne.u64 present, positions, 0;
            mul.wide.u32 offset, row, 4;
            add.u64 positions, positions, offset;
            @present ld.global.u32 position, [positions];
            mov.u32 largestBits, 0;
            mov.f32 high, 0f00000000;
            mov.f32 low, 0f00000000;
            """);
        if (row.Gate)
        {
            GateRow(ptx, row, quantize);
        }
        else
        {
            NormRow(ptx, row, quantize);
        }

        if (row.Sink == RowSink.Round)
        {
            return ptx.End();
        }

        QuantizeKernel.Reduce(ptx, quantize);
        if (row.Sink != RowSink.Mark)
        {
            QuantizeKernel.Factors(ptx, quantize);
            ptx.Add("""
                mul.wide.u32 offset, row, kPadded;
                add.u64 quantized, quantized, offset;
                """);
        }
        else
        {
            ptx.Add("@!isFinite bra DONE;");
        }

        ptx.Add("""
            mov.u32 group, thread;
            SINK:
            setp.ge.u32 again, group, groups;
            @again bra DONE;
            """);
        if (row.Sink == RowSink.Mark)
        {
            Cached(ptx, "ld", X);
            QuantizeKernel.MarkGroup(ptx);
        }
        else
        {
            ptx.Add("""
                mov.u32 packedLow, 0;
                mov.u32 packedHigh, 0;
                @!isFinite bra STORE_GROUP;
                """);
            Cached(ptx, "ld", X);
            QuantizeKernel.QuantizeGroup(ptx, quantize);
            ptx.Add("""
                STORE_GROUP:
                mul.wide.u32 offset, group, 8;
                add.u64 pointer, quantized, offset;
                st.global.v2.b32 [pointer], {packedLow, packedHigh};
                """);
        }

        ptx.Add("""
            add.u32 group, group, threads;
            bra SINK;
            """);
        if (!lists)
        {
            return ptx.End();
        }

        ptx.Add("DONE:");
        OutlierRowList.Store(ptx, "bar.sync 0;");
        return ptx.Add("""
            ret;
            }
            """).ToString();
    }

    private static void Load(PtxWriter ptx, RowPlan row)
    {
        ptx.Argument<RowArguments>("residual", nameof(RowArguments.Residual), "u64")
           .Argument<RowArguments>("sumAt", nameof(RowArguments.Sum), "u64")
           .Argument<RowArguments>("first", nameof(RowArguments.First), "u64")
           .Argument<RowArguments>("second", nameof(RowArguments.Second), "u64")
           .Argument<RowArguments>("weight", nameof(RowArguments.Weight), "u64")
           .Argument<RowArguments>("biasAt", nameof(RowArguments.Bias), "u64")
           .Argument<RowArguments>("outputAt", nameof(RowArguments.Output), "u64")
           .Argument<RowArguments>("positions", nameof(RowArguments.Positions), "u64")
           .Argument<RowArguments>("quantized", nameof(RowArguments.Quantized), "u64")
           .Argument<RowArguments>("rowSteps", nameof(RowArguments.RowSteps), "u64")
           .Argument<RowArguments>("rowZeros", nameof(RowArguments.RowZeros), "u64")
           .Argument<RowArguments>("mask", nameof(RowArguments.OutlierMask), "u64")
           .Argument<RowArguments>("k", nameof(RowArguments.Width), "u32")
           .Argument<RowArguments>("kPadded", nameof(RowArguments.KPadded), "u32")
           .Argument<RowArguments>("strideFirst", nameof(RowArguments.FirstStride), "u32")
           .Argument<RowArguments>("strideSecond", nameof(RowArguments.SecondStride), "u32")
           .Argument<RowArguments>("strideOutput", nameof(RowArguments.OutputStride), "u32")
           .Argument<RowArguments>("function", nameof(RowArguments.Function), "u32")
           .Argument<RowArguments>("replace", nameof(RowArguments.Replace), "u32")
           .Argument<RowArguments>("epsilon", nameof(RowArguments.Epsilon), "f32")
           .Argument<RowArguments>("threshold", nameof(RowArguments.Threshold), "f32")
           .Add("""
            mov.u64 absmaxAt, 0;
            mov.u32 thread, %tid.x;
            mov.u32 threads, %ntid.x;
            mov.u32 row, %ctaid.x;
            and.b32 lane, thread, 31;
            shr.u32 warp, thread, 5;
            shr.u32 warps, threads, 5;
            shr.u32 groups, kPadded, 3;
            setp.gt.u32 spans, groups, threads;
            setp.ne.u64 hasFirst, first, 0;
            setp.ne.u64 hasSecond, second, 0;
            setp.ne.u64 hasWeight, weight, 0;
            setp.ne.u64 hasBiasRow, biasAt, 0;
            setp.ne.u64 hasOutput, outputAt, 0;
            setp.ne.u32 replaces, replace, 0;
            mul.wide.u32 offset, row, strideFirst;
            shl.b64 offset, offset, 1;
            add.u64 first, first, offset;
            mul.wide.u32 offset, row, strideSecond;
            shl.b64 offset, offset, 1;
            add.u64 second, second, offset;
            mul.wide.u32 offset, row, strideOutput;
            shl.b64 offset, offset, 1;
            add.u64 outputAt, outputAt, offset;
            mul.wide.u32 offset, row, k;
            shl.b64 offset, offset, 2;
            add.u64 residual, residual, offset;
            add.u64 sumAt, sumAt, offset;
            """);
        if (!row.Gate)
        {
            // The weights do not come from the kernel ahead: the first group's are read while it ends.
            ptx.Add("""
                mov.u32 group, thread;
                shl.b32 element, group, 3;
                setp.lt.u32 inRow, element, k;
                """);
            LoadFloats(ptx, "weight", "hasWeight", W, 1);
            LoadFloats(ptx, "biasAt", "hasBiasRow", B, 0);
        }
    }

    /// <summary>This group's eight values to or from shared memory, where the thread has more than one group.</summary>
    private static void Cached(PtxWriter ptx, string operation, string[] values, bool always = false)
    {
        string when = always ? "" : "@spans ";
        string low = Vector(values.Take(4).ToArray()), high = Vector(values.Skip(4).ToArray());
        ptx.Add("""
            mov.u32 cacheAddress, dynamicShared;
            mad.lo.u32 cacheAddress, group, 32, cacheAddress;
            """);
        ptx.Add(operation == "ld"
            ? $"{when}ld.shared.v4.f32 {low}, [cacheAddress];\n{when}ld.shared.v4.f32 {high}, [cacheAddress+16];"
            : $"{when}st.shared.v4.f32 [cacheAddress], {low};\n{when}st.shared.v4.f32 [cacheAddress+16], {high};");
    }

    private static void Clear(PtxWriter ptx)
    {
        foreach (string x in X)
        {
            ptx.Add($"mov.f32 {x}, 0f00000000;");
        }
    }

    /// <summary>element, and inRow: whether the group lies in the row.</summary>
    private static void Locate(PtxWriter ptx) => ptx.Add("""
        shl.b32 element, group, 3;
        setp.lt.u32 inRow, element, k;
        """);

    /// <summary>
    /// isActive, and zeros in x where the row is not. To be asked once the row's values are under way: who waits for the position first waits twice.
    /// </summary>
    private static void ClearInactive(PtxWriter ptx)
    {
        ptx.Add($"setp.ne.u32 isActive, position, 0x{DecoderRow.Inactive:X8};");
        foreach (string x in X)
        {
            ptx.Add($"selp.f32 {x}, {x}, 0f00000000, isActive;");
        }
    }

    /// <summary>The group's eight f16 values of the first operand to y.</summary>
    private static void LoadFirst(PtxWriter ptx) => ptx.Add("""
        mul.wide.u32 offset, element, 2;
        add.u64 address, first, offset;
        ld.global.v4.b32 {raw0, raw1, raw2, raw3}, [address];
        """).Widen(Raw, Y);

    /// <summary>Asks for the group's eight values of the second operand, where there is one, so that they come together with the first's.</summary>
    private static void LoadSecond(PtxWriter ptx) => ptx.Add($"""
        mul.wide.u32 offset, element, 2;
        add.u64 address, second, offset;
        @hasSecond ld.global.v4.b32 {Vector(SecondRaw)}, [address];
        """);

    /// <summary>Rounds x to f16 in the output and, for what follows, in shared memory, and measures it.</summary>
    private static void Round(PtxWriter ptx, RowPlan row, QuantizePlan quantize)
    {
        ptx.Narrow(X, Raw);
        ptx.Add("""
            shl.b32 element, group, 3;
            setp.lt.u32 present, element, k;
            and.pred present, present, hasOutput;
            mul.wide.u32 offset, element, 2;
            add.u64 address, outputAt, offset;
            @present st.global.v4.b32 [address], {raw0, raw1, raw2, raw3};
            """);
        if (row.Sink == RowSink.Round)
        {
            return;
        }

        ptx.Widen(Raw, X);
        Cached(ptx, "st", X);
        if (row.Sink == RowSink.QuantizeColumns)
        {
            QuantizeKernel.LoadMaskByte(ptx);
        }

        for (int i = 0; i < X.Length; i++)
        {
            QuantizeKernel.Measure(ptx, quantize, i);
        }
    }

    private static void GateRow(PtxWriter ptx, RowPlan row, QuantizePlan quantize)
    {
        string outside = ptx.Label("OUTSIDE"), element = ptx.Label("ELEMENT"), single = ptx.Label("SINGLE"), curve = ptx.Label("CURVE"), activated = ptx.Label("GROUP_ACTIVATED");
        ptx.Add("""
            mov.u32 activation, function;
            mov.u32 group, thread;
            GATE:
            setp.ge.u32 again, group, groups;
            @again bra GATED;
            """);
        Locate(ptx);
        Clear(ptx);
        ptx.Add($"@!inRow bra {outside};");
        LoadSecond(ptx);
        LoadFirst(ptx);
        ptx.Add($"""
            setp.ge.u32 again, activation, {(int)Activation.Gelu};
            @again bra {curve};
            """);
        for (int i = 0; i < X.Length; i++)
        {
            ptx.Add($"mov.f32 {X[i]}, {Y[i]};");
        }

        ptx.Add($"""
            setp.ne.u32 again, activation, {(int)Activation.Relu};
            @again bra {activated};
            """);
        foreach (string x in X)
        {
            Epilogue.Relu(ptx, x);
        }

        // Curves are long: eight values share one text.
        ptx.Add($"bra {activated};").Add($"{curve}:");
        Cached(ptx, "st", Y, always: true);
        ptx.Add($"""
            mov.u32 item, 8;
            {element}:
            ld.shared.f32 x, [cacheAddress];
            """);
        Epilogue.Activate(ptx, "x");
        ptx.Add($"""
            st.shared.f32 [cacheAddress], x;
            add.u32 cacheAddress, cacheAddress, 4;
            sub.u32 item, item, 1;
            setp.ne.u32 again, item, 0;
            @again bra {element};
            """);
        Cached(ptx, "ld", X, always: true);
        ptx.Add($"{activated}:").Add($"@!hasSecond bra {single};");
        ptx.Widen(SecondRaw, Y);
        for (int i = 0; i < X.Length; i++)
        {
            ptx.Add($"mul.rn.f32 {X[i]}, {X[i]}, {Y[i]};");
        }

        ptx.Add($"{single}:");
        ClearInactive(ptx);
        ptx.Add($"{outside}:");
        Round(ptx, row, quantize);
        ptx.Add("""
            add.u32 group, group, threads;
            bra GATE;
            GATED:
            """);
    }

    private static void NormRow(PtxWriter ptx, RowPlan row, QuantizePlan quantize)
    {
        string outside = ptx.Label("OUTSIDE"), noFirst = ptx.Label("NO_FIRST"), noSecond = ptx.Label("NO_SECOND"), squares = ptx.Label("SQUARES"), summed = ptx.Label("SUMMED");
        ptx.Add($"""
            setp.eq.u32 isLayer, function, {(int)CudaNorm.Layer};
            setp.eq.u32 isPlain, function, {(int)CudaNorm.None};
            or.pred writes, hasFirst, hasSecond;
            cvt.rn.f32.u32 widthFloat, k;
            mov.f32 sum, 0f00000000;
            mov.f32 mean, 0f00000000;
            mov.f32 factor, {PtxWriter.F32(1)};
            mov.u32 group, thread;
            READ:
            setp.ge.u32 again, group, groups;
            @again bra READ_ALL;
            """);
        Locate(ptx);
        Clear(ptx);
        ptx.Add($$"""
            @!inRow bra {{outside}};
            mul.wide.u32 offset, element, 4;
            add.u64 pointer, residual, offset;
            ld.global.v4.f32 {x0, x1, x2, x3}, [pointer];
            ld.global.v4.f32 {x4, x5, x6, x7}, [pointer+16];
            """);
        LoadSecond(ptx);
        ptx.Add($"@!hasFirst bra {noFirst};");
        LoadFirst(ptx);
        Add(ptx);
        ptx.Add($"{noFirst}:").Add($"@!hasSecond bra {noSecond};");
        ptx.Widen(SecondRaw, Y);
        Add(ptx);
        ptx.Add($"{noSecond}:");
        ClearInactive(ptx);
        ptx.Add($$"""
            and.pred writes, writes, isActive;
            mul.wide.u32 offset, element, 4;
            add.u64 pointer, sumAt, offset;
            @writes st.global.v4.f32 [pointer], {x0, x1, x2, x3};
            @writes st.global.v4.f32 [pointer+16], {x4, x5, x6, x7};
            @!isLayer bra {{squares}};
            """);
        foreach (string x in X)
        {
            ptx.Add($"add.rn.f32 sum, sum, {x};");
        }

        ptx.Add($"bra {summed};").Add($"{squares}:");
        foreach (string x in X)
        {
            ptx.Add($"fma.rn.f32 sum, {x}, {x}, sum;");
        }

        ptx.Add($"{summed}:").Add($"{outside}:");
        Cached(ptx, "st", X);
        ptx.Add("""
            add.u32 group, group, threads;
            bra READ;
            READ_ALL:
            @isPlain bra MEASURED_ROW;
            """);
        BlockSum(ptx, "sumScratch");
        ptx.Add("""
            @!isLayer bra VARIANCE;
            div.rn.f32 mean, sum, widthFloat;
            mov.f32 sum, 0f00000000;
            mov.u32 group, thread;
            DEVIATE:
            setp.ge.u32 again, group, groups;
            @again bra DEVIATED;
            """);
        Locate(ptx);
        Cached(ptx, "ld", X);
        foreach (string x in X)
        {
            ptx.Add($"""
                sub.rn.f32 term, {x}, mean;
                @!inRow mov.f32 term, 0f00000000;
                fma.rn.f32 sum, term, term, sum;
                """);
        }

        ptx.Add("""
            add.u32 group, group, threads;
            bra DEVIATE;
            DEVIATED:
            """);
        BlockSum(ptx, "squareScratch");
        ptx.Add("""
            VARIANCE:
            div.rn.f32 sum, sum, widthFloat;
            add.rn.f32 sum, sum, epsilon;
            sqrt.rn.f32 sum, sum;
            rcp.rn.f32 factor, sum;
            MEASURED_ROW:
            mov.u32 group, thread;
            NORMALIZE:
            setp.ge.u32 again, group, groups;
            @again bra NORMALIZED;
            """);
        Locate(ptx);
        Cached(ptx, "ld", X);
        string done = ptx.Label("NORMALIZED_GROUP"), loaded = ptx.Label("PARAMETERS_LOADED"), plain = ptx.Label("PLAIN");
        ptx.Add($"""
            and.pred inRow, inRow, isActive;
            @!inRow bra {done};
            @isPlain bra {plain};
            setp.eq.u32 present, group, thread;
            @present bra {loaded};
            """);
        LoadFloats(ptx, "weight", "hasWeight", W, 1);
        LoadFloats(ptx, "biasAt", "hasBiasRow", B, 0);
        ptx.Add($"{loaded}:");
        for (int i = 0; i < X.Length; i++)
        {
            ptx.Add($"""
                sub.rn.f32 {X[i]}, {X[i]}, mean;
                mul.rn.f32 {X[i]}, {X[i]}, factor;
                fma.rn.f32 {X[i]}, {X[i]}, {W[i]}, {B[i]};
                """);
        }

        ptx.Add($$"""
            {{plain}}:
            mul.wide.u32 offset, element, 4;
            add.u64 pointer, sumAt, offset;
            @replaces st.global.v4.f32 [pointer], {x0, x1, x2, x3};
            @replaces st.global.v4.f32 [pointer+16], {x4, x5, x6, x7};
            {{done}}:
            """);
        Round(ptx, row, quantize);
        ptx.Add("""
            add.u32 group, group, threads;
            bra NORMALIZE;
            NORMALIZED:
            """);
    }

    private static void Add(PtxWriter ptx)
    {
        for (int i = 0; i < X.Length; i++)
        {
            ptx.Add($"add.rn.f32 {X[i]}, {X[i]}, {Y[i]};");
        }
    }

    /// <summary>This group's eight values of a vector that all rows share; a constant where there is none.</summary>
    private static void LoadFloats(PtxWriter ptx, string source, string has, string[] values, float otherwise)
    {
        foreach (string value in values)
        {
            ptx.Add($"mov.f32 {value}, {PtxWriter.F32(otherwise)};");
        }

        ptx.Add($"""
            and.pred present, inRow, {has};
            mul.wide.u32 offset, element, 4;
            add.u64 address, {source}, offset;
            @present ld.global.nc.v4.f32 {Vector(values.Take(4).ToArray())}, [address];
            @present ld.global.nc.v4.f32 {Vector(values.Skip(4).ToArray())}, [address+16];
            """);
    }

    /// <summary>The sum over the block, in an order that depends on the width alone; every thread gets it.</summary>
    private static void BlockSum(PtxWriter ptx, string scratch)
    {
        WarpSum(ptx, "sum");
        ptx.Add($"""
            setp.eq.u32 isFirst, lane, 0;
            shl.b32 scratch, warp, 2;
            mov.u32 address32, {scratch};
            add.u32 address32, address32, scratch;
            @isFirst st.shared.f32 [address32], sum;
            bar.sync 0;
            setp.lt.u32 present, lane, warps;
            shl.b32 scratch, lane, 2;
            mov.u32 address32, {scratch};
            add.u32 address32, address32, scratch;
            mov.f32 sum, 0f00000000;
            @present ld.shared.f32 sum, [address32];
            """);
        WarpSum(ptx, "sum");
    }

    /// <summary>The sum over the warp, to all of its threads; uses the register <c>term</c>.</summary>
    public static void WarpSum(PtxWriter ptx, string sum)
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
