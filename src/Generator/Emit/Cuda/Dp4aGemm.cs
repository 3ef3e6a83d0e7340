using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// Pascal to Turing: dp4a. A thread holds 8 x 8 results, 16 rows and columns apart, and reads 16 bytes of K at a time from shared memory, where
/// a row takes 80 bytes so that 16 threads' rows lie in different banks.
/// </summary>
internal static class Dp4aGemm
{
    /// <summary>Rows and columns of a thread's sums, and how far apart they are.</summary>
    public const int Grid = 8, Apart = 16;

    private const int Copies = 128 * Dp4aGemmPlan.BlockK / 16 / GridGemmPlan.Threads;

    /// <summary>The sums, row by row.</summary>
    public static string[] Accumulators { get; } =
        (from row in Enumerable.Range(0, Grid) from column in Enumerable.Range(0, Grid) select GridEpilogue.Accumulator(row, column)).ToArray();

    public static string Emit(Dp4aGemmPlan plan)
    {
        PtxWriter ptx = new();
        int[] offsets = Enumerable.Range(0, Grid).Select(i => i * Apart).ToArray();
        GridEpilogue epilogue = new(plan, offsets, offsets);
        ptx.Add($$"""
            .version 6.0
            .target sm_61
            .address_size 64
            .extern .shared .align 16 .b8 dynamicShared[];
            .visible .entry {{plan.Name}}(.param .align 8 .b8 args[{{Arguments.Size}}])
            .maxntid {{GridGemmPlan.Threads}}, 1, 1
            .minnctapersm 1
            {
            """);
        ptx.Registers("b32", "thread", "threadRow", "threadColumn", "shared", "tile", "rowTiles", "tileRow", "tileColumn", "kElement", "chunk", "chunkRow", "at", "last", "rowAddress", "columnAddress", "storeAt")
           .Registers("b64", "quantized", "weights", "from")
           .Registers("pred", "again");
        DeclareOperands(ptx);
        epilogue.Declare(ptx);
        ptx.Argument("quantized", nameof(GemmArguments.Quantized), "u64")
           .Argument("weights", nameof(GemmArguments.Weights), "u64")
           .Argument("mTotal", nameof(GemmArguments.M), "u32")
           .Argument("nTotal", nameof(GemmArguments.N), "u32")
           .Argument("kPadded", nameof(GemmArguments.KPadded), "u32")
           .Add("""
            mov.u32 thread, %tid.x;
            and.b32 threadColumn, thread, 15;
            shr.u32 threadRow, thread, 4;
            mov.u32 shared, dynamicShared;
            mov.u32 tile, %ctaid.x;
            add.u32 rowTiles, mTotal, 127;
            shr.u32 rowTiles, rowTiles, 7;
            rem.u32 tileRow, tile, rowTiles;
            div.u32 tileColumn, tile, rowTiles;
            shl.b32 tileRow, tileRow, 7;
            shl.b32 tileColumn, tileColumn, 7;
            """);
        Multiply(ptx, 16);
        ptx.Add("""
            add.u32 gridRow, tileRow, threadRow;
            add.u32 gridColumn, tileColumn, threadColumn;
            mad.lo.u32 scratchSlot, thread, 16, shared;
            """);
        epilogue.Emit(ptx);
        return ptx.Add("""
            ret;
            }
            """).ToString();
    }

    /// <summary>Declares what <see cref="Multiply"/> holds of both matrices.</summary>
    public static void DeclareOperands(PtxWriter ptx) => ptx
        .Registers("b32", Enumerable.Range(0, Grid * 4).Select(i => $"a{i}").Concat(Enumerable.Range(0, 4).Select(i => $"b{i}")).ToArray())
        .Registers("b32", Enumerable.Range(0, Copies * 4).Select(i => $"next{i}").ToArray())
        .Registers("b32", "nextBuffer");

    /// <summary>
    /// Every product of the tile at <c>tileRow</c> and <c>tileColumn</c>: all that follows from the arguments and the thread's number, up to
    /// where the shared memory at <c>shared</c> is free again. There are two buffers of a K block: while the first half of one is multiplied the
    /// next block of A is on its way, during the second half that of the weights, so that no more than one matrix's part waits in registers.
    /// </summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="step">Bytes of K that are held in registers of both matrices at a time: 16, or 8 to save registers.</param>
    public static void Multiply(PtxWriter ptx, int step)
    {
        ptx.Add($"""
            and.b32 chunk, thread, 3;
            shl.b32 chunk, chunk, 4;
            shr.u32 chunkRow, thread, 2;
            mad.lo.u32 storeAt, chunkRow, {Dp4aGemmPlan.Pitch}, chunk;
            add.u32 storeAt, storeAt, shared;
            mad.lo.u32 rowAddress, threadRow, {Dp4aGemmPlan.Pitch}, shared;
            mad.lo.u32 columnAddress, threadColumn, {Dp4aGemmPlan.Pitch}, shared;
            mov.u32 nextBuffer, {Dp4aGemmPlan.BufferBytes};
            mov.u32 kElement, 0;
            """);
        foreach (string accumulator in Accumulators)
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }

        foreach (Matrix matrix in (Matrix[])[Matrix.A, Matrix.Weights])
        {
            Load(ptx, matrix, "");
            Store(ptx, matrix, "");
        }

        ptx.Add("bar.sync 0;").Add("MAINLOOP:").Add($"""
            add.u32 kElement, kElement, {Dp4aGemmPlan.BlockK};
            add.u32 storeAt, storeAt, nextBuffer;
            setp.lt.u32 again, kElement, kPadded;
            """);
        Load(ptx, Matrix.A, "@again ");
        MultiplyPart(ptx, 0, Dp4aGemmPlan.BlockK / 2, step);
        Store(ptx, Matrix.A, "@again ");
        Load(ptx, Matrix.Weights, "@again ");
        MultiplyPart(ptx, Dp4aGemmPlan.BlockK / 2, Dp4aGemmPlan.BlockK, step);
        Store(ptx, Matrix.Weights, "@again ");
        ptx.Add("""
            add.u32 rowAddress, rowAddress, nextBuffer;
            add.u32 columnAddress, columnAddress, nextBuffer;
            neg.s32 nextBuffer, nextBuffer;
            bar.sync 0;
            @again bra MAINLOOP;
            """);
    }

    private enum Matrix
    {
        A,
        Weights,
    }

    private static void MultiplyPart(PtxWriter ptx, int from, int to, int step)
    {
        int words = step / 4;
        for (int k = from; k < to; k += step)
        {
            for (int row = 0; row < Grid; row++)
            {
                ptx.Add($"ld.shared.v{words}.b32 {{{string.Join(", ", Enumerable.Range(words * row, words).Select(i => $"a{i}"))}}}, [rowAddress+{(row * Apart * Dp4aGemmPlan.Pitch) + k}];");
            }

            for (int column = 0; column < Grid; column++)
            {
                ptx.Add($"ld.shared.v{words}.b32 {{{string.Join(", ", Enumerable.Range(0, words).Select(i => $"b{i}"))}}}, [columnAddress+{((128 + (column * Apart)) * Dp4aGemmPlan.Pitch) + k}];");
                for (int row = 0; row < Grid; row++)
                {
                    string accumulator = GridEpilogue.Accumulator(row, column);
                    for (int i = 0; i < words; i++)
                    {
                        ptx.Add($"dp4a.s32.s32 {accumulator}, a{(words * row) + i}, b{i}, {accumulator};");
                    }
                }
            }
        }
    }

    /// <summary>A row beyond the matrix is the last one again: its products are never stored.</summary>
    private static void Load(PtxWriter ptx, Matrix matrix, string when)
    {
        (string first, string total, string values) = matrix == Matrix.A ? ("tileRow", "mTotal", "quantized") : ("tileColumn", "nTotal", "weights");
        for (int copy = 0; copy < Copies; copy++)
        {
            ptx.Add($$"""
                add.u32 at, chunkRow, {{copy * 64}};
                add.u32 at, at, {{first}};
                sub.u32 last, {{total}}, 1;
                min.u32 at, at, last;
                mul.wide.u32 from, at, kPadded;
                add.u32 at, kElement, chunk;
                cvt.u64.u32 pointer, at;
                add.u64 from, from, pointer;
                add.u64 from, from, {{values}};
                {{when}}ld.global.v4.b32 {{{Next(copy)}}}, [from];
                """);
        }
    }

    private static void Store(PtxWriter ptx, Matrix matrix, string when)
    {
        for (int copy = 0; copy < Copies; copy++)
        {
            int row = (matrix == Matrix.A ? 0 : 128) + (copy * 64);
            ptx.Add($"{when}st.shared.v4.b32 [storeAt+{row * Dp4aGemmPlan.Pitch}], {{{Next(copy)}}};");
        }
    }

    private static string Next(int copy) => string.Join(", ", Enumerable.Range(4 * copy, 4).Select(n => $"next{n}"));
}
