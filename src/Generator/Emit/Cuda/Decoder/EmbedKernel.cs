using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>A thread block per row, eight values per thread and turn.</summary>
internal static class EmbedKernel
{
    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = Begin<EmbedArguments>(plan, 1024);
        ptx.Registers("b32", "thread", "threads", "row", "position", "token", "width", "vocabulary", "positionOffset", "positionRows", "tokenStride", "positionStride", "outputStride", "element", "format")
           .Registers("b64", "tokens", "positions", "tokenTable", "positionTable", "output", "pointer", "offset")
           .Registers("f32", "factor")
           .Registers("f32", Names("x", 8)).Registers("f32", Names("p", 8)).Registers("b32", Names("raw", 8))
           .Registers("b16", "halfLow", "halfHigh")
           .Registers("pred", "isActive", "hasTokens", "hasToken", "hasPosition", "keeps", "again", "isF32", "isF16")
           .LaunchNext(plan)
           .Argument<EmbedArguments>("tokens", nameof(EmbedArguments.Tokens), "u64")
           .Argument<EmbedArguments>("positions", nameof(EmbedArguments.Positions), "u64")
           .Argument<EmbedArguments>("tokenTable", nameof(EmbedArguments.TokenTable), "u64")
           .Argument<EmbedArguments>("positionTable", nameof(EmbedArguments.PositionTable), "u64")
           .Argument<EmbedArguments>("output", nameof(EmbedArguments.Output), "u64")
           .Argument<EmbedArguments>("width", nameof(EmbedArguments.Width), "u32")
           .Argument<EmbedArguments>("vocabulary", nameof(EmbedArguments.Vocabulary), "u32")
           .Argument<EmbedArguments>("positionOffset", nameof(EmbedArguments.PositionOffset), "u32")
           .Argument<EmbedArguments>("positionRows", nameof(EmbedArguments.PositionRows), "u32")
           .Argument<EmbedArguments>("tokenStride", nameof(EmbedArguments.TokenStride), "u32")
           .Argument<EmbedArguments>("positionStride", nameof(EmbedArguments.PositionStride), "u32")
           .Argument<EmbedArguments>("outputStride", nameof(EmbedArguments.OutputStride), "u32")
           .Argument<EmbedArguments>("factor", nameof(EmbedArguments.Scale), "f32")
           .Add("""
            mov.u32 thread, %tid.x;
            mov.u32 threads, %ntid.x;
            mov.u32 row, %ctaid.x;
            setp.ne.u64 hasTokens, tokens, 0;
            mov.u32 token, 0xFFFFFFFF;
            """)
           .WaitForPrevious(plan)
           .Add($"""
            mul.wide.u32 offset, row, 4;
            add.u64 positions, positions, offset;
            ld.global.u32 position, [positions];
            add.u64 tokens, tokens, offset;
            @hasTokens ld.global.u32 token, [tokens];
            setp.ne.u32 isActive, position, 0x{DecoderRow.Inactive:X8};
            setp.lt.u32 hasToken, token, vocabulary;
            and.pred hasToken, hasToken, isActive;
            not.pred keeps, hasTokens;
            and.pred keeps, keeps, isActive;
            add.u32 position, position, positionOffset;
            setp.lt.u32 hasPosition, position, positionRows;
            and.pred hasPosition, hasPosition, isActive;
            setp.ne.and.u64 hasPosition, positionTable, 0, hasPosition;
            shl.b32 element, thread, 3;
            GROUP:
            setp.ge.u32 again, element, width;
            @again bra DONE;
            """);
        foreach (string x in Names("x", 8))
        {
            ptx.Add($"mov.f32 {x}, 0f00000000;");
        }

        string noToken = ptx.Label("NO_TOKEN"), noKept = ptx.Label("NOTHING_KEPT"), noPosition = ptx.Label("NO_POSITION"), store16 = ptx.Label("STORE_F16"), stored = ptx.Label("STORED");
        ptx.Add($"@!hasToken bra {noToken};");
        Load(ptx, "tokenTable", "token", "tokenStride", nameof(EmbedArguments.TokenFormat), "x");
        foreach (string x in Names("x", 8))
        {
            ptx.Add($"mul.rn.f32 {x}, {x}, factor;");
        }

        ptx.Add($"{noToken}:").Add($"@!keeps bra {noKept};");
        Load(ptx, "output", "row", "outputStride", nameof(EmbedArguments.OutputFormat), "x");
        ptx.Add($"{noKept}:").Add($"@!hasPosition bra {noPosition};");
        Load(ptx, "positionTable", "position", "positionStride", nameof(EmbedArguments.PositionFormat), "p");
        for (int i = 0; i < 8; i++)
        {
            ptx.Add($"add.rn.f32 x{i}, x{i}, p{i};");
        }

        ptx.Add($"{noPosition}:")
           .Argument<EmbedArguments>("format", nameof(EmbedArguments.OutputFormat), "u32")
           .Add($$"""
            setp.eq.u32 isF16, format, {{(int)ElementFormat.Float16}};
            mul.wide.u32 pointer, row, outputStride;
            cvt.u64.u32 offset, element;
            add.u64 pointer, pointer, offset;
            @isF16 bra {{store16}};
            shl.b64 pointer, pointer, 2;
            add.u64 pointer, pointer, output;
            st.global.v4.f32 [pointer], {x0, x1, x2, x3};
            st.global.v4.f32 [pointer+16], {x4, x5, x6, x7};
            bra {{stored}};
            {{store16}}:
            """)
           .Narrow(Names("x", 8), Names("raw", 4))
           .Add($$"""
            shl.b64 pointer, pointer, 1;
            add.u64 pointer, pointer, output;
            st.global.v4.b32 [pointer], {raw0, raw1, raw2, raw3};
            {{stored}}:
            shl.b32 format, threads, 3;
            add.u32 element, element, format;
            bra GROUP;
            """);
        return ptx.End();
    }

    /// <summary>Eight values of a row of a table, whose type is known at run time.</summary>
    private static void Load(PtxWriter ptx, string table, string row, string stride, string format, string values)
    {
        string sixteen = ptx.Label("SIXTEEN_BITS"), loaded = ptx.Label("LOADED"), bf16 = ptx.Label("BF16");
        string[] names = Names(values, 8);
        ptx.Argument<EmbedArguments>("format", format, "u32")
           .Add($$"""
            setp.eq.u32 isF32, format, {{(int)ElementFormat.Float32}};
            setp.eq.u32 isF16, format, {{(int)ElementFormat.Float16}};
            mul.wide.u32 pointer, {{row}}, {{stride}};
            cvt.u64.u32 offset, element;
            add.u64 pointer, pointer, offset;
            @!isF32 bra {{sixteen}};
            shl.b64 pointer, pointer, 2;
            add.u64 pointer, pointer, {{table}};
            ld.global.v4.f32 {{Vector(names[0], names[1], names[2], names[3])}}, [pointer];
            ld.global.v4.f32 {{Vector(names[4], names[5], names[6], names[7])}}, [pointer+16];
            bra {{loaded}};
            {{sixteen}}:
            shl.b64 pointer, pointer, 1;
            add.u64 pointer, pointer, {{table}};
            ld.global.v4.b32 {raw0, raw1, raw2, raw3}, [pointer];
            @!isF16 bra {{bf16}};
            """)
           .Widen(Names("raw", 4), names)
           .Add($"bra {loaded};").Add($"{bf16}:");
        for (int i = 0; i < 4; i++)
        {
            ptx.Add($"""
                shl.b32 raw4, raw{i}, 16;
                mov.b32 {names[2 * i]}, raw4;
                and.b32 raw4, raw{i}, 0xFFFF0000;
                mov.b32 {names[(2 * i) + 1]}, raw4;
                """);
        }

        ptx.Add($"{loaded}:");
    }
}
