using System.Globalization;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// A thread block per row. The row is read from global memory once, in 16-byte pieces, and waits in shared memory for what its range decides.
/// Whether the row is finite is known before anything leaves it: a NaN or an infinity reaches no other row.
/// </summary>
internal static class QuantizeKernel
{
    /// <summary>Values that a thread takes at a time: eight int8 results are one store, eight mask bits one byte.</summary>
    private const int Group = 8;

    private const string Infinity = "0x7F800000", Magnitude = "0x7FFFFFFF";

    private static readonly string Tiny = PtxWriter.F32(7.888609052210118e-31f), Lift = PtxWriter.F32(1.8446744073709552e19f);

    private static readonly string One = PtxWriter.F32(1f), Levels = PtxWriter.F32(127f), Half = PtxWriter.F32(0.5f);

    public static string Emit(QuantizePlan plan)
    {
        PtxWriter ptx = new();
        bool hopper = plan.Capability >= 90;
        ptx.Add($$"""
            .version {{(hopper ? "8.0" : "6.0")}}
            .target {{(hopper ? "sm_90" : "sm_61")}}
            .address_size 64
            .extern .shared .align 16 .b8 rowCache[];
            .visible .entry {{plan.Name}}(.param .align 8 .b8 args[{{System.Runtime.InteropServices.Marshal.SizeOf<QuantizeArguments>().ToString(CultureInfo.InvariantCulture)}}])
            .maxntid 1024, 1, 1
            {
            """);
        Declare(ptx);
        if (ListsRows(plan))
        {
            OutlierRowList.Declare(ptx, rowsPerBlock: 1);
            Field(ptx, "rowOutliers", nameof(QuantizeArguments.RowOutliers), "u64");
            Field(ptx, "rowOutlierPitch", nameof(QuantizeArguments.RowOutlierPitch), "u32");
        }

        Field(ptx, "input", nameof(QuantizeArguments.Input), "u64");
        Field(ptx, "quantized", nameof(QuantizeArguments.Quantized), "u64");
        Field(ptx, "rowSteps", nameof(QuantizeArguments.RowSteps), "u64");
        Field(ptx, "rowZeros", nameof(QuantizeArguments.RowZeros), "u64");
        Field(ptx, "absmaxAt", nameof(QuantizeArguments.Absmax), "u64");
        Field(ptx, "mask", nameof(QuantizeArguments.OutlierMask), "u64");
        Field(ptx, "tensorRange", nameof(QuantizeArguments.TensorRange), "u64");
        Field(ptx, "k", nameof(QuantizeArguments.K), "u32");
        Field(ptx, "kPadded", nameof(QuantizeArguments.KPadded), "u32");
        Field(ptx, "stride", nameof(QuantizeArguments.InputStride), "u32");
        Field(ptx, "threshold", nameof(QuantizeArguments.Threshold), "f32");
        Field(ptx, "cached", nameof(QuantizeArguments.Cached), "u32");
        Field(ptx, "aligned", nameof(QuantizeArguments.Aligned), "u32");
        ptx.Add($"""
            {(hopper ? "griddepcontrol.launch_dependents;" : "")}
            mov.u32 thread, %tid.x;
            mov.u32 threads, %ntid.x;
            mov.u32 row, %ctaid.x;
            and.b32 lane, thread, 31;
            shr.u32 warp, thread, 5;
            shr.u32 warps, threads, 5;
            shr.u32 groups, kPadded, 3;
            setp.ne.u32 isCached, cached, 0;
            setp.ne.u32 vectors, aligned, 0;
            mov.b16 hZero, 0;
            mul.wide.u32 offset, row, stride;
            shl.b64 offset, offset, {Shift(plan)};
            add.u64 input, input, offset;
            mov.u32 largestBits, 0;
            mov.f32 high, 0f00000000;
            mov.f32 low, 0f00000000;
            {(hopper ? "griddepcontrol.wait;" : "")}
            """);
        if (ListsRows(plan))
        {
            OutlierRowList.Start(ptx, rowInBlock: null);
        }

        ptx.Add("""
            mov.u32 group, thread;
            MEASURE:
            setp.ge.u32 again, group, groups;
            @again bra MEASURED;
            """);
        LoadGroup(ptx, plan);
        StoreCache(ptx, plan);
        Unpack(ptx, plan);
        if (plan.Stage != QuantizeStage.Detect && plan.ExcludesColumns)
        {
            LoadMaskByte(ptx);
        }

        for (int i = 0; i < Group; i++)
        {
            Measure(ptx, plan, i);
        }

        ptx.Add("""
            add.u32 group, group, threads;
            bra MEASURE;
            MEASURED:
            """);
        Reduce(ptx, plan);
        switch (plan.Stage)
        {
            case QuantizeStage.Detect:
                MarkOutliers(ptx, plan);
                break;
            case QuantizeStage.Range:
                WidenRange(ptx);
                break;
            default:
                Factors(ptx, plan);
                QuantizeRow(ptx, plan);
                break;
        }

        ptx.Add("DONE:");
        if (ListsRows(plan))
        {
            OutlierRowList.Store(ptx, "bar.sync 0;");
        }

        return ptx.Add("""
            ret;
            }
            """).ToString();
    }

    /// <summary>Whether a kernel leaves values out of the int8 part and lists them. No multiplication of as few rows as a cluster holds reads lists.</summary>
    public static bool ListsRows(QuantizePlan plan) => plan.Stage == QuantizeStage.Quantize && plan.Outliers != OutlierPolicy.None;

    /// <summary>Registers and shared memory of the parts below.</summary>
    public static void Declare(PtxWriter ptx) => ptx.Add("""
        .shared .align 4 .b32 warpBits[32];
        .shared .align 4 .f32 warpHigh[32];
        .shared .align 4 .f32 warpLow[32];
        .reg .b32 thread, threads, row, groups, group, element, lane, warp, warps, k, kPadded, stride, cached, aligned, cacheAddress, scratch, remote, magnitudeBits, largestBits, maskByte, known, address32;
        .reg .b64 input, quantized, rowSteps, rowZeros, absmaxAt, mask, tensorRange, pointer, offset, groupPointer;
        .reg .f32 threshold, high, low, remoteFloat, prescale, scale, half, scaledLow, scaledHigh, rowStep, scaledValue;
        .reg .b32 zeroPoint, packedLow, packedHigh, quantizedValue;
        .reg .pred again, full, vectors, isCached, isExcluded, isFinite, present, isFirst, isZero;
        .reg .b32 raw<8>, q<8>;
        .reg .b16 h<8>, hZero;
        .reg .f32 x<8>, magnitude;
        """);

    private static int Shift(QuantizePlan plan) => plan.Input == ElementFormat.Float32 ? 2 : 1;

    private static bool NeedsRange(QuantizePlan plan) =>
        plan.Stage == QuantizeStage.Range || (plan.Stage == QuantizeStage.Quantize && !plan.TensorScale);

    /// <summary>Loads a field of <see cref="QuantizeArguments"/>.</summary>
    public static void Field(PtxWriter ptx, string register, string field, string type)
    {
        int offset = (int)System.Runtime.InteropServices.Marshal.OffsetOf<QuantizeArguments>(field);
        ptx.Add($"ld.param.{type} {register}, [args+{offset.ToString(CultureInfo.InvariantCulture)}];");
    }

    /// <summary>Eight values to raw registers: whole 16-byte pieces where alignment and K allow, else one by one, zeros beyond K.</summary>
    private static void LoadGroup(PtxWriter ptx, QuantizePlan plan)
    {
        string slow = ptx.Label("ONE_BY_ONE"), loaded = ptx.Label("LOADED");
        ptx.Add($$"""
            shl.b32 element, group, 3;
            add.u32 scratch, element, {{Group}};
            setp.le.u32 full, scratch, k;
            and.pred full, full, vectors;
            mul.wide.u32 offset, element, {{1 << Shift(plan)}};
            add.u64 groupPointer, input, offset;
            @!full bra {{slow}};
            ld.global.v4.b32 {raw0, raw1, raw2, raw3}, [groupPointer];
            """);
        if (plan.Input == ElementFormat.Float32)
        {
            ptx.Add("ld.global.v4.b32 {raw4, raw5, raw6, raw7}, [groupPointer+16];");
        }

        ptx.Add($"bra {loaded};").Add($"{slow}:");
        for (int i = 0; i < Group; i++)
        {
            ptx.Add($"add.u32 scratch, element, {i};").Add("setp.lt.u32 present, scratch, k;");
            ptx.Add(plan.Input == ElementFormat.Float32
                ? $"mov.b32 raw{i}, 0;\n@present ld.global.b32 raw{i}, [groupPointer+{i * 4}];"
                : $"mov.b16 h{i}, 0;\n@present ld.global.b16 h{i}, [groupPointer+{i * 2}];");
        }

        if (plan.Input != ElementFormat.Float32)
        {
            for (int i = 0; i < Group / 2; i++)
            {
                ptx.Add($"mov.b32 raw{i}, {{h{2 * i}, h{(2 * i) + 1}}};");
            }
        }

        ptx.Add($"{loaded}:");
    }

    private static void CacheAddress(PtxWriter ptx, QuantizePlan plan) => ptx.Add($"""
        mov.u32 cacheAddress, rowCache;
        mad.lo.u32 cacheAddress, group, {Group << Shift(plan)}, cacheAddress;
        """);

    private static void StoreCache(PtxWriter ptx, QuantizePlan plan)
    {
        CacheAddress(ptx, plan);
        ptx.Add("@isCached st.shared.v4.b32 [cacheAddress], {raw0, raw1, raw2, raw3};");
        if (plan.Input == ElementFormat.Float32)
        {
            ptx.Add("@isCached st.shared.v4.b32 [cacheAddress+16], {raw4, raw5, raw6, raw7};");
        }
    }

    /// <summary>The group again: from shared memory, or from global memory where the row was too long for it.</summary>
    private static void ReloadGroup(PtxWriter ptx, QuantizePlan plan)
    {
        string cached = ptx.Label("FROM_CACHE"), loaded = ptx.Label("RELOADED");
        ptx.Add($"@isCached bra {cached};");
        LoadGroup(ptx, plan);
        ptx.Add($"bra {loaded};").Add($"{cached}:");
        CacheAddress(ptx, plan);
        ptx.Add("ld.shared.v4.b32 {raw0, raw1, raw2, raw3}, [cacheAddress];");
        if (plan.Input == ElementFormat.Float32)
        {
            ptx.Add("ld.shared.v4.b32 {raw4, raw5, raw6, raw7}, [cacheAddress+16];");
        }

        ptx.Add($"{loaded}:");
        Unpack(ptx, plan);
    }

    private static void Unpack(PtxWriter ptx, QuantizePlan plan)
    {
        for (int i = 0; i < Group; i++)
        {
            switch (plan.Input)
            {
                case ElementFormat.Float32:
                    ptx.Add($"mov.b32 x{i}, raw{i};");
                    break;
                case ElementFormat.BFloat16:
                    ptx.Add(i % 2 == 0 ? $"shl.b32 scratch, raw{i / 2}, 16;" : $"and.b32 scratch, raw{i / 2}, 0xFFFF0000;")
                       .Add($"mov.b32 x{i}, scratch;");
                    break;
                default:
                    ptx.Add(i % 2 == 0 ? $"mov.b32 {{h{i}, h{i + 1}}}, raw{i / 2};" : "").Add($"cvt.f32.f16 x{i}, h{i};");
                    break;
            }
        }
    }

    /// <summary>The eight mask bits of the group's columns.</summary>
    public static void LoadMaskByte(PtxWriter ptx) => ptx.Add("""
        cvt.u64.u32 offset, group;
        add.u64 pointer, mask, offset;
        ld.global.u8 maskByte, [pointer];
        """);

    /// <summary>isExcluded: whether value i is multiplied elsewhere. NaN counts as included; its row is not used.</summary>
    private static void Exclude(PtxWriter ptx, QuantizePlan plan, int i) => ptx.Add(plan.ExcludesElements
        ? $"abs.f32 magnitude, x{i};\nsetp.ge.f32 isExcluded, magnitude, threshold;"
        : $"and.b32 scratch, maskByte, {1 << i};\nsetp.ne.u32 isExcluded, scratch, 0;");

    public static void Measure(PtxWriter ptx, QuantizePlan plan, int i)
    {
        ptx.Add($"""
            mov.b32 magnitudeBits, x{i};
            and.b32 magnitudeBits, magnitudeBits, {Magnitude};
            max.u32 largestBits, largestBits, magnitudeBits;
            """);
        if (!NeedsRange(plan))
        {
            return;
        }

        if (plan.ExcludesElements || plan.ExcludesColumns)
        {
            Exclude(ptx, plan, i);
            ptx.Add($"selp.f32 magnitude, 0f00000000, x{i}, isExcluded;");
        }
        else
        {
            ptx.Add($"mov.f32 magnitude, x{i};");
        }

        ptx.Add(plan.ZeroPoint
            ? "max.f32 high, high, magnitude;\nmin.f32 low, low, magnitude;"
            : "abs.f32 magnitude, magnitude;\nmax.f32 high, high, magnitude;");
    }

    /// <summary>Largest magnitude, high and low over the block; every thread gets them.</summary>
    public static void Reduce(PtxWriter ptx, QuantizePlan plan)
    {
        WarpReduce(ptx, plan);
        ptx.Add("""
            setp.eq.u32 isFirst, lane, 0;
            shl.b32 scratch, warp, 2;
            mov.u32 address32, warpBits;
            add.u32 address32, address32, scratch;
            @isFirst st.shared.b32 [address32], largestBits;
            mov.u32 address32, warpHigh;
            add.u32 address32, address32, scratch;
            @isFirst st.shared.f32 [address32], high;
            mov.u32 address32, warpLow;
            add.u32 address32, address32, scratch;
            @isFirst st.shared.f32 [address32], low;
            bar.sync 0;
            setp.lt.u32 present, lane, warps;
            shl.b32 scratch, lane, 2;
            mov.u32 largestBits, 0;
            mov.f32 high, 0f00000000;
            mov.f32 low, 0f00000000;
            mov.u32 address32, warpBits;
            add.u32 address32, address32, scratch;
            @present ld.shared.b32 largestBits, [address32];
            mov.u32 address32, warpHigh;
            add.u32 address32, address32, scratch;
            @present ld.shared.f32 high, [address32];
            mov.u32 address32, warpLow;
            add.u32 address32, address32, scratch;
            @present ld.shared.f32 low, [address32];
            """);
        WarpReduce(ptx, plan);
        ptx.Add($"setp.lt.u32 isFinite, largestBits, {Infinity};");
    }

    private static void WarpReduce(PtxWriter ptx, QuantizePlan plan)
    {
        for (int distance = 16; distance > 0; distance /= 2)
        {
            ptx.Add($"""
                shfl.sync.bfly.b32 remote, largestBits, {distance}, 31, 0xFFFFFFFF;
                max.u32 largestBits, largestBits, remote;
                """);
            if (NeedsRange(plan))
            {
                ptx.Add($"""
                    shfl.sync.bfly.b32 remoteFloat, high, {distance}, 31, 0xFFFFFFFF;
                    max.f32 high, high, remoteFloat;
                    """);
                if (plan.ZeroPoint)
                {
                    ptx.Add($"""
                        shfl.sync.bfly.b32 remoteFloat, low, {distance}, 31, 0xFFFFFFFF;
                        min.f32 low, low, remoteFloat;
                        """);
                }
            }
        }
    }

    /// <summary>Sets the bits of the group's outliers. Most are known from rows before: an atomic is spent on new ones only.</summary>
    public static void MarkGroup(PtxWriter ptx)
    {
        string done = ptx.Label("MARKED");
        ptx.Add("mov.u32 maskByte, 0;");
        for (int i = 0; i < Group; i++)
        {
            ptx.Add($"""
                abs.f32 magnitude, x{i};
                setp.ge.f32 isExcluded, magnitude, threshold;
                @isExcluded or.b32 maskByte, maskByte, {1 << i};
                """);
        }

        ptx.Add($"""
            setp.eq.u32 isZero, maskByte, 0;
            @isZero bra {done};
            and.b32 address32, group, 3;
            shl.b32 address32, address32, 3;
            shl.b32 scratch, maskByte, address32;
            shr.u32 address32, group, 2;
            mul.wide.u32 offset, address32, 4;
            add.u64 pointer, mask, offset;
            ld.volatile.global.u32 known, [pointer];
            not.b32 known, known;
            and.b32 scratch, scratch, known;
            setp.eq.u32 isZero, scratch, 0;
            @isZero bra {done};
            red.global.or.b32 [pointer], scratch;
            {done}:
            """);
    }

    private static void MarkOutliers(PtxWriter ptx, QuantizePlan plan)
    {
        ptx.Add("""
            @!isFinite bra DONE;
            mov.u32 group, thread;
            MARK:
            setp.ge.u32 again, group, groups;
            @again bra DONE;
            """);
        ReloadGroup(ptx, plan);
        MarkGroup(ptx);
        ptx.Add("""
            add.u32 group, group, threads;
            bra MARK;
            """);
    }

    /// <summary>Both ends are not negative as stored, so their bits order like the numbers and the maximum depends on no order.</summary>
    private static void WidenRange(PtxWriter ptx) => ptx.Add("""
        @!isFinite bra DONE;
        setp.ne.u32 isFirst, thread, 0;
        @isFirst bra DONE;
        mov.b32 scratch, high;
        red.global.max.u32 [tensorRange], scratch;
        neg.f32 low, low;
        mov.b32 scratch, low;
        and.b32 scratch, scratch, 0x7FFFFFFF;
        red.global.max.u32 [tensorRange+4], scratch;
        """);

    /// <summary>prescale, scale, zeroPoint and the stored statistics, as AbsmaxScaling of the runtime has them.</summary>
    public static void Factors(PtxWriter ptx, QuantizePlan plan)
    {
        if (plan.TensorScale)
        {
            ptx.Add("""
                ld.global.b32 high, [tensorRange];
                ld.global.b32 low, [tensorRange+4];
                neg.f32 low, low;
                """);
        }

        if (plan.ZeroPoint)
        {
            ZeroPointFactors(ptx);
        }
        else
        {
            SymmetricFactors(ptx);
        }

        StoreStatistics(ptx);
    }

    private static void ZeroPointFactors(PtxWriter ptx) => ptx.Add($"""
        mov.u32 zeroPoint, 0;
        mov.f32 prescale, {One};
        neg.f32 remoteFloat, low;
        max.f32 remoteFloat, remoteFloat, high;
        setp.lt.f32 isZero, remoteFloat, {Tiny};
        selp.f32 prescale, {Lift}, {One}, isZero;
        mul.rn.f32 scaledHigh, high, prescale;
        mul.rn.f32 scaledHigh, scaledHigh, {Half};
        mul.rn.f32 scaledLow, low, prescale;
        mul.rn.f32 half, scaledLow, {Half};
        sub.rn.f32 half, scaledHigh, half;
        div.rn.f32 scale, {Levels}, half;
        neg.f32 scaledLow, scaledLow;
        mul.rn.f32 scaledLow, scaledLow, scale;
        cvt.rni.s32.f32 zeroPoint, scaledLow;
        sub.s32 zeroPoint, zeroPoint, 127;
        setp.eq.f32 isZero, half, 0f00000000;
        @isZero mov.u32 zeroPoint, 0;
        @isZero mov.f32 scale, 0f00000000;
        @isZero mov.f32 prescale, {One};
        mul.rn.f32 remoteFloat, low, {Half};
        mul.rn.f32 rowStep, high, {Half};
        sub.rn.f32 rowStep, rowStep, remoteFloat;
        div.rn.f32 rowStep, rowStep, {Levels};
        """);

    /// <summary>prescale, scale and rowStep of a row whose largest magnitude is <c>high</c>; zeroPoint is 0.</summary>
    public static void SymmetricFactors(PtxWriter ptx) => ptx.Add($"""
        mov.u32 zeroPoint, 0;
        setp.lt.f32 isZero, high, {Tiny};
        selp.f32 prescale, {Lift}, {One}, isZero;
        mul.rn.f32 scaledHigh, high, prescale;
        rcp.rn.f32 scale, scaledHigh;
        mul.rn.f32 scale, scale, {Levels};
        setp.eq.f32 isZero, high, 0f00000000;
        @isZero mov.f32 scale, 0f00000000;
        @isZero mov.f32 prescale, {One};
        div.rn.f32 rowStep, high, {Levels};
        """);

    /// <summary>A row's statistics leave through its first thread; those of a row that is not finite are NaN.</summary>
    public static void StoreStatistics(PtxWriter ptx) => ptx.Add("""
        selp.f32 rowStep, rowStep, 0f7FC00000, isFinite;
        selp.b32 zeroPoint, zeroPoint, 0, isFinite;
        setp.ne.u32 isFirst, thread, 0;
        @isFirst bra STATISTICS_STORED;
        mul.wide.u32 offset, row, 4;
        add.u64 pointer, rowSteps, offset;
        st.global.f32 [pointer], rowStep;
        setp.ne.u64 present, rowZeros, 0;
        add.u64 pointer, rowZeros, offset;
        @present st.global.u32 [pointer], zeroPoint;
        setp.ne.u64 present, absmaxAt, 0;
        add.u64 pointer, absmaxAt, offset;
        selp.f32 remoteFloat, high, 0f7FC00000, isFinite;
        @present st.global.f32 [pointer], remoteFloat;
        STATISTICS_STORED:
        """);

    private static void QuantizeRow(PtxWriter ptx, QuantizePlan plan)
    {
        ptx.Add("""
            mul.wide.u32 offset, row, kPadded;
            add.u64 quantized, quantized, offset;
            mov.u32 group, thread;
            QUANTIZE:
            setp.ge.u32 again, group, groups;
            @again bra DONE;
            mov.u32 packedLow, 0;
            mov.u32 packedHigh, 0;
            @!isFinite bra STORE_GROUP;
            """);
        ReloadGroup(ptx, plan);
        QuantizeGroup(ptx, plan);
        ptx.Add("""
            STORE_GROUP:
            mul.wide.u32 offset, group, 8;
            add.u64 pointer, quantized, offset;
            st.global.v2.b32 [pointer], {packedLow, packedHigh};
            add.u32 group, group, threads;
            bra QUANTIZE;
            """);
    }

    /// <summary>x0 to x7 of a finite row to packedLow and packedHigh, which are zero before.</summary>
    public static void QuantizeGroup(PtxWriter ptx, QuantizePlan plan)
    {
        if (plan.ExcludesColumns)
        {
            LoadMaskByte(ptx);
        }
        else if (plan.ExcludesElements)
        {
            MarkGroup(ptx);
        }

        if (ListsRows(plan))
        {
            OutlierRowList.AppendGroup(ptx);
        }

        for (int i = 0; i < Group; i++)
        {
            ptx.Add($"""
                mul.rn.f32 scaledValue, x{i}, prescale;
                mul.rn.f32 scaledValue, scaledValue, scale;
                cvt.rni.s32.f32 q{i}, scaledValue;
                """);
            if (plan.ExcludesElements || plan.ExcludesColumns)
            {
                Exclude(ptx, plan, i);
                ptx.Add($"selp.b32 q{i}, 0, q{i}, isExcluded;");
            }

            ptx.Add($"""
                add.s32 q{i}, q{i}, zeroPoint;
                max.s32 q{i}, q{i}, -127;
                min.s32 q{i}, q{i}, 127;
                and.b32 q{i}, q{i}, 0xFF;
                """);
        }

        for (int i = 0; i < Group; i++)
        {
            string packed = i < 4 ? "packedLow" : "packedHigh";
            ptx.Add($"shl.b32 scratch, q{i}, {i % 4 * 8};").Add($"or.b32 {packed}, {packed}, scratch;");
        }
    }
}
