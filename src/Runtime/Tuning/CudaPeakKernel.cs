using System.Text;
using KernelGen.Backends.Cuda;

namespace KernelGen.Tuning;

/// <summary>
/// A kernel that does nothing but multiply and add, on registers or on tiles that stay in shared memory: how fast a GPU's units can be. Operands are
/// pseudorandom, since zeros need less power and run faster.
/// </summary>
/// <param name="Variant">The kernel.</param>
/// <param name="Instruction">What it measures.</param>
/// <param name="BlocksPerMultiprocessor">Thread blocks to launch on each.</param>
/// <param name="OperationsPerRound">Multiplications and additions of a thread block in a round, counted as two.</param>
/// <param name="Keep">Bits of a random word that stay.</param>
/// <param name="Set">Bits that are set in every word, so that float16 operands are finite.</param>
internal sealed record CudaPeakKernel(
    CudaKernelVariant Variant, string Instruction, int BlocksPerMultiprocessor, double OperationsPerRound, uint Keep, uint Set)
{
    private const int Threads = 256, Warps = 8, Warpgroups = 2;

    /// <summary>Independent sums of a thread or a warp, and operand pairs.</summary>
    private const int Sums = 8;

    /// <summary>Two float16 values from 1 to 2 in a word.</summary>
    private const uint HalfKeep = 0x03FF03FF, HalfSet = 0x3C003C00;

    /// <summary>From the fastest kind of unit to the one that every device has.</summary>
    public static IReadOnlyList<CudaPeakKernel> Int8 { get; } =
    [
        Wgmma("wgmma s8", "s32.s8.s8", "k32", "1", 64.0 * 256 * 32, uint.MaxValue, 0),
        Mma("mma.sync s8", "m16n8k32.row.col.s32.s8.s8.s32", 16.0 * 8 * 32, uint.MaxValue, 0),
        PerThread("dp4a", "dp4a.s32.s32", "b32", 4, uint.MaxValue, 0),
    ];

    /// <summary>Likewise with float16 operands and float32 sums; float32 where there are no tensor cores.</summary>
    public static IReadOnlyList<CudaPeakKernel> Float { get; } =
    [
        Wgmma("wgmma f16", "f32.f16.f16", "k16", "1, 1, 1, 0, 0", 64.0 * 256 * 16, HalfKeep, HalfSet),
        Mma("mma.sync f16", "m16n8k16.row.col.f32.f16.f16.f32", 16.0 * 8 * 16, HalfKeep, HalfSet),
        PerThread("fma f32", "fma.rn.f32", "f32", 1, 0x007FFFFF, 0x3F000000),
    ];

    private static CudaPeakKernel Wgmma(string instruction, string types, string k, string flags, double products, uint keep, uint set)
    {
        // Descriptor: 128-byte swizzle in bits 62..63, 1024 bytes between groups of eight rows, addresses in units of 16 bytes.
        const int High = (1024 >> 4) | (1 << 30), TileA = 64 * 128, TileB = 256 * 128, Words = (TileA + TileB) / 4, StepsOfTile = 4;
        string type = types.StartsWith('f') ? "f32" : "b32";
        string sums = string.Join(", ", Enumerable.Range(0, 128).Select(static i => $"%d{i}"));
        StringBuilder text = Start("8.0", "sm_90a", Name(instruction, "sm90a"));
        text.Append($"""
                .reg .{type} %d<128>;
                .reg .b64 %a, %b, %descA, %descB;
                .shared .align 1024 .b8 tile[{TileA + TileB}];
                mov.u32 %at, tile;
                shl.b32 %t, %thread, 2;
                add.u32 %at, %at, %t;
                mov.u32 %i, %thread;
            FILL:
            {Random}
                st.shared.u32 [%at], %w;
                add.u32 %at, %at, {Threads * 4};
                add.u32 %i, %i, {Threads};
                setp.lt.u32 %again, %i, {Words};
                @%again bra FILL;
                fence.proxy.async.shared::cta;
                bar.sync 0;
                mov.u32 %at, tile;
                shr.u32 %t, %at, 4;
                or.b32 %t, %t, 0x10000;
                mov.u32 %w, {High};
                mov.b64 %a, {Pair("%t", "%w")};
                add.u64 %b, %a, {TileA / 16};

            """);
        for (int i = 0; i < 128; i++)
        {
            text.Append($"    mov.{type} %d{i}, {(type == "f32" ? "0f00000000" : "0")};\n");
        }

        text.Append("    mov.u32 %i, 0;\nROUND:\n    wgmma.fence.sync.aligned;\n");
        for (int step = 0; step < StepsOfTile; step++)
        {
            text.Append($"    add.u64 %descA, %a, {2 * step};\n    add.u64 %descB, %b, {2 * step};\n");
            text.Append($"    wgmma.mma_async.sync.aligned.m64n256{k}.{types} {{{sums}}}, %descA, %descB, {flags};\n");
        }

        text.Append("    wgmma.commit_group.sync.aligned;\n    wgmma.wait_group.sync.aligned 1;\n").Append(NextRound)
            .Append("    wgmma.wait_group.sync.aligned 0;\n");
        Finish(text, type, 128);
        return new CudaPeakKernel(
            Kernel(instruction, "sm90a", 90, true, text), instruction, 1, 2 * products * StepsOfTile * Warpgroups, keep, set);
    }

    private static CudaPeakKernel Mma(string instruction, string types, double products, uint keep, uint set)
    {
        string type = instruction.EndsWith("f16", StringComparison.Ordinal) ? "f32" : "b32";
        StringBuilder text = Start("7.0", "sm_80", Name(instruction, "sm80"));
        text.Append($"    .reg .{type} %d<{4 * Sums}>;\n    .reg .b32 %x<{6}>;\n");
        for (int i = 0; i < 6; i++)
        {
            text.Append($"{Random}\n    mov.b32 %x{i}, %w;\n");
        }

        for (int i = 0; i < 4 * Sums; i++)
        {
            text.Append($"    mov.{type} %d{i}, {(type == "f32" ? "0f00000000" : "0")};\n");
        }

        text.Append("    mov.u32 %i, 0;\nROUND:\n");
        for (int sum = 0; sum < Sums; sum++)
        {
            string d = string.Join(", ", Enumerable.Range(4 * sum, 4).Select(static i => $"%d{i}"));
            text.Append($"    mma.sync.aligned.{types} {{{d}}}, {{%x0, %x1, %x2, %x3}}, {{%x4, %x5}}, {{{d}}};\n");
        }

        text.Append(NextRound);
        Finish(text, type, 4 * Sums);
        return new CudaPeakKernel(Kernel(instruction, "sm80", 80, false, text), instruction, 4, 2 * products * Sums * Warps, keep, set);
    }

    private static CudaPeakKernel PerThread(string instruction, string operation, string type, double products, uint keep, uint set)
    {
        StringBuilder text = Start("6.0", "sm_61", Name(instruction, "sm61"));
        text.Append($"    .reg .{type} %d<{2 * Sums}>, %x, %y;\n{Random}\n    mov.b32 %x, %w;\n{Random}\n    mov.b32 %y, %w;\n");
        for (int i = 0; i < 2 * Sums; i++)
        {
            text.Append($"    mov.{type} %d{i}, %x;\n");
        }

        text.Append("    mov.u32 %i, 0;\nROUND:\n");
        for (int i = 0; i < 2 * Sums; i++)
        {
            // The sum is an operand of fma too: of a product that never changes, a compiler would make one.
            text.Append(type == "f32" ? $"    {operation} %d{i}, %d{i}, %x, %y;\n" : $"    {operation} %d{i}, %x, %d{i}, %d{i};\n");
        }

        text.Append(NextRound);
        Finish(text, type, 2 * Sums);
        return new CudaPeakKernel(Kernel(instruction, "sm61", 61, false, text), instruction, 8, 2 * products * 2 * Sums * Threads, keep, set);
    }

    /// <summary>The next pseudorandom word in %w.</summary>
    private const string Random = """
            mad.lo.u32 %seed, %seed, 1664525, 1013904223;
            shr.u32 %w, %seed, 15;
            xor.b32 %w, %w, %seed;
            and.b32 %w, %w, %keep;
            or.b32 %w, %w, %set;
        """;

    private const string NextRound = """
            add.u32 %i, %i, 1;
            setp.lt.u32 %again, %i, %rounds;
            @%again bra ROUND;

        """;

    private static string Pair(string low, string high) => $"{{{low}, {high}}}";

    private static StringBuilder Start(string version, string target, string name) => new($$"""
        .version {{version}}
        .target {{target}}
        .address_size 64
        .visible .entry {{name}}(.param .u64 output, .param .u32 rounds, .param .u32 keep, .param .u32 set)
        .maxntid {{Threads}}, 1, 1
        {
            .reg .b32 %thread, %block, %seed, %w, %keep, %set, %rounds, %i, %t, %at, %total;
            .reg .b64 %output, %offset;
            .reg .pred %again;
            ld.param.u64 %output, [output];
            ld.param.u32 %rounds, [rounds];
            ld.param.u32 %keep, [keep];
            ld.param.u32 %set, [set];
            mov.u32 %thread, %tid.x;
            mov.u32 %block, %ctaid.x;
            mad.lo.u32 %seed, %block, {{Threads}}, %thread;

        """);

    /// <summary>Stores a word that all sums take part in, so that none is left out.</summary>
    private static void Finish(StringBuilder text, string type, int sums)
    {
        text.Append("    mov.u32 %total, 0;\n");
        for (int i = 0; i < sums; i++)
        {
            text.Append(type == "f32" ? $"    mov.b32 %w, %d{i};\n    xor.b32 %total, %total, %w;\n" : $"    xor.b32 %total, %total, %d{i};\n");
        }

        text.Append($"""
                mad.lo.u32 %t, %block, {Threads}, %thread;
                mul.wide.u32 %offset, %t, 4;
                add.u64 %output, %output, %offset;
                st.global.u32 [%output], %total;
                ret;
            """).Append("\n}\n");
    }

    private static string Name(string instruction, string architecture) => $"peak_{instruction.Replace('.', '_').Replace(' ', '_')}_{architecture}";

    private static CudaKernelVariant Kernel(string instruction, string architecture, int capability, bool specific, StringBuilder text)
    {
        byte[] ptx = Encoding.UTF8.GetBytes(text.ToString());
        return new CudaKernelVariant(
            Name(instruction, architecture), CudaKernelRole.MeasurePeak, capability, specific, ElementFormat.Float32, 0, 0, false, Threads, 0, () => ptx);
    }
}
