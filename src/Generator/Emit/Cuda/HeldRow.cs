namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// A 16-bit row in registers, eight values a group, from its loading to its int8 values. Magnitudes are compared two at a time, as they are stored; a value is
/// rounded by adding 1.5 * 2^23 to its product with the scale, which leaves the nearest integer, ties to even, in the low byte.
/// </summary>
internal static class HeldRow
{
    /// <summary>Values of one 16-byte load.</summary>
    private const int Group = 8;

    private const string Rounder = "0f4B400000";

    /// <summary>The registers of a thread's group, two values each.</summary>
    public static string[] Raw(int group) => Enumerable.Range(0, Group / 2).Select(pair => $"raw{group}_{pair}").ToArray();

    /// <summary>Asks for the thread's i-th group, number <c>group</c> of the row at <c>input</c>, whose length is whole groups.</summary>
    public static void LoadWhole(PtxWriter ptx, int i)
    {
        Clear(ptx, i);
        ptx.Add($$"""
            setp.lt.u32 inRow{{i}}, group, groups;
            shl.b32 element, group, 3;
            setp.lt.u32 full, element, k;
            mul.wide.u32 offset, element, 2;
            add.u64 pointer, input, offset;
            @full ld.global.v4.b32 {{{string.Join(", ", Raw(i))}}}, [pointer];
            """);
    }

    private static void Clear(PtxWriter ptx, int i)
    {
        foreach (string raw in Raw(i))
        {
            ptx.Add($"mov.b32 {raw}, 0;");
        }
    }

    /// <summary>The same for a row of any length: its last values, if they are no whole load, come one by one.</summary>
    public static void Load(PtxWriter ptx, int i)
    {
        string next = ptx.Label("NEXT_LOAD");
        Clear(ptx, i);
        ptx.Add($$"""
            setp.lt.u32 inRow{{i}}, group, groups;
            shl.b32 element, group, 3;
            add.u32 scratch, element, {{Group}};
            setp.le.u32 full, scratch, k;
            setp.lt.u32 tail, element, k;
            mul.wide.u32 offset, element, 2;
            add.u64 pointer, input, offset;
            @full ld.global.v4.b32 {{{string.Join(", ", Raw(i))}}}, [pointer];
            xor.pred tail, tail, full;
            @!tail bra {{next}};
            """);
        for (int j = 0; j < Group; j++)
        {
            ptx.Add($"add.u32 scratch, element, {j};")
               .Add("setp.lt.u32 present, scratch, k;")
               .Add($"mov.b16 h{j}, 0;")
               .Add($"@present ld.global.b16 h{j}, [pointer+{j * 2}];");
        }

        for (int pair = 0; pair < Group / 2; pair++)
        {
            ptx.Add($"mov.b32 {Raw(i)[pair]}, {{h{2 * pair}, h{(2 * pair) + 1}}};");
        }

        ptx.Add($"{next}:");
    }

    /// <summary>
    /// Adds the group to largestPair, the largest magnitudes so far, NaN if one is. By threshold, leaves the outliers' bits in groupOutliers; where they are left out of
    /// the row, they lose their values, and keptPair is the largest of the others.
    /// </summary>
    public static void Measure(PtxWriter ptx, ElementFormat format, int i, bool byThreshold, bool excludes)
    {
        string type = format == ElementFormat.BFloat16 ? "bf16x2" : "f16x2";
        for (int pair = 0; pair < Group / 2; pair++)
        {
            string raw = Raw(i)[pair];
            ptx.Add($"""
                and.b32 magnitude, {raw}, 0x7FFF7FFF;
                max.NaN.{type} largestPair, largestPair, magnitude;
                """);
            if (byThreshold)
            {
                ptx.Add($"""
                    set.lt.u32.{type} keeps, magnitude, thresholds;
                    not.b32 bits, keeps;
                    and.b32 bits, bits, {0x00020001 << (2 * pair)};
                    or.b32 groupOutliers, groupOutliers, bits;
                    """);
                if (excludes)
                {
                    ptx.Add($"""
                        and.b32 {raw}, {raw}, keeps;
                        and.b32 magnitude, magnitude, keeps;
                        max.{type} keptPair, keptPair, magnitude;
                        """);
                }
            }
        }

        if (byThreshold)
        {
            // The first values' bits are in the low half, the second ones' in the high half.
            ptx.Add("""
                shr.u32 bits, groupOutliers, 16;
                or.b32 groupOutliers, groupOutliers, bits;
                and.b32 groupOutliers, groupOutliers, 0xFF;
                """);
        }
    }

    /// <summary>The larger value of a pair that any thread of the warp has, to all of them. Bits of magnitudes order like the magnitudes, NaN above all.</summary>
    public static void WarpMaximum(PtxWriter ptx, string result, string pair) => ptx.Add($"""
        and.b32 {result}, {pair}, 0xFFFF;
        shr.u32 scratch, {pair}, 16;
        max.u32 {result}, {result}, scratch;
        redux.sync.max.u32 {result}, {result}, 0xFFFFFFFF;
        """);

    /// <summary>The thread's i-th group as int8 values in packedLow and packedHigh.</summary>
    public static void Quantize(PtxWriter ptx, ElementFormat format, int i)
    {
        for (int pair = 0; pair < Group / 2; pair++)
        {
            string low = $"x{2 * pair}", high = $"x{(2 * pair) + 1}";
            Widen(ptx, format, Raw(i)[pair], low, high);
            if (format == ElementFormat.BFloat16)
            {
                ptx.Add($"mul.rn.f32 {low}, {low}, prescale;").Add($"mul.rn.f32 {high}, {high}, prescale;");
            }

            foreach (string x in new[] { low, high })
            {
                ptx.Add($"mul.rn.f32 {x}, {x}, scale;").Add($"add.rn.f32 {x}, {x}, {Rounder};");
            }
        }

        ptx.Add("""
            mov.b32 bits, x0;
            mov.b32 packedLow, x1;
            prmt.b32 bits, bits, packedLow, 0x0040;
            mov.b32 packedLow, x2;
            mov.b32 packedHigh, x3;
            prmt.b32 packedLow, packedLow, packedHigh, 0x0040;
            prmt.b32 packedLow, bits, packedLow, 0x5410;
            mov.b32 bits, x4;
            mov.b32 packedHigh, x5;
            prmt.b32 bits, bits, packedHigh, 0x0040;
            mov.b32 packedHigh, x6;
            mov.b32 scratch, x7;
            prmt.b32 packedHigh, packedHigh, scratch, 0x0040;
            prmt.b32 packedHigh, bits, packedHigh, 0x5410;
            """);
    }

    private static void Widen(PtxWriter ptx, ElementFormat format, string raw, string low, string high) => ptx.Add(format == ElementFormat.BFloat16
        ? $"""
            shl.b32 scratch, {raw}, 16;
            mov.b32 {low}, scratch;
            and.b32 scratch, {raw}, 0xFFFF0000;
            mov.b32 {high}, scratch;
            """
        : $$"""
            mov.b32 {halfLow, halfHigh}, {{raw}};
            cvt.f32.f16 {{low}}, halfLow;
            cvt.f32.f16 {{high}}, halfHigh;
            """);
}
