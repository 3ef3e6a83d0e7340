using KernelGen.Generator.Emit.Cuda;
using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// mma.sync m16n8k32: a ring of K blocks of 64 filled by cp.async, fragments by ldmatrix. Rows of a tile are 64 bytes; two of them share a line of all banks,
/// so their 16-byte chunks are permuted by half the row number. Two warps stand along M, the others along N.
/// </summary>
internal static class MmaTile
{
    private const int Chunks = 4;

    public static void Declare(PtxWriter ptx, IlgpuKernelPlan plan)
    {
        (int rowBlocks, int columnBlocks) = Blocks(plan);
        ptx.Registers("b32", Accumulators(plan))
            .Registers("b32", Enumerable.Range(0, rowBlocks * 4).Select(i => $"a{i}").Concat(Enumerable.Range(0, columnBlocks * 2).Select(i => $"b{i}")).ToArray())
            .Registers("b32", "lane", "warp", "warpRow", "warpColumn", "chunk", "chunkRow", "kBlock", "kBlocks", "loadBlock", "readStage", "writeStage", "at")
            .Registers("b32", "swizzle", "rowA", "rowB", "a0Offset", "a1Offset", "b0Offset", "b1Offset", "destination", "sumRow")
            .Registers("b32", Enumerable.Range(0, Copies(plan)).Select(i => $"bytes{i}").ToArray())
            .Registers("b64", Enumerable.Range(0, Copies(plan)).Select(i => $"from{i}").Append("chunkOffset").ToArray())
            .Registers("pred", "again", "loads");
    }

    public static void Multiply(PtxWriter ptx, IlgpuKernelPlan plan)
    {
        (int rowBlocks, int columnBlocks) = Blocks(plan);
        ptx.Add($"""
            and.b32 lane, thread, 31;
            shr.u32 warp, thread, 5;
            div.u32 warpRow, warp, {plan.Warps.Columns};
            rem.u32 warpColumn, warp, {plan.Warps.Columns};
            and.b32 chunk, thread, {Chunks - 1};
            shr.u32 chunkRow, thread, 2;
            shr.u32 kBlocks, kPadded, 6;
            shr.u32 swizzle, chunkRow, 1;
            xor.b32 swizzle, swizzle, chunk;
            and.b32 swizzle, swizzle, {Chunks - 1};
            shl.b32 swizzle, swizzle, 4;
            mad.lo.u32 destination, chunkRow, {plan.BlockK}, swizzle;
            add.u32 destination, destination, shared;
            """);
        int rowsAtOnce = plan.Threads / Chunks;
        for (int i = 0; i < Copies(plan); i++)
        {
            bool isRow = i < plan.BlockM / rowsAtOnce;
            (string first, string limit, string matrix) = isRow ? ("tileRow", "mTotal", "quantized") : ("tileColumn", "nTotal", "weights");

            // A row that is not there is copied as zeros, from an address that is.
            ptx.Add($"""
                add.u32 at, chunkRow, {(isRow ? i : i - (plan.BlockM / rowsAtOnce)) * rowsAtOnce};
                add.u32 at, at, {first};
                setp.lt.u32 isMine, at, {limit};
                selp.u32 bytes{i}, 16, 0, isMine;
                selp.u32 at, at, 0, isMine;
                mul.wide.u32 from{i}, at, kPadded;
                add.u64 from{i}, from{i}, {matrix};
                shl.b32 at, chunk, 4;
                cvt.u64.u32 chunkOffset, at;
                add.u64 from{i}, from{i}, chunkOffset;
                """);
        }

        ptx.Add("mov.u32 loadBlock, 0;").Add("mov.u32 writeStage, 0;");
        foreach (string accumulator in Accumulators(plan))
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }

        for (int stage = 0; stage < plan.Stages - 1; stage++)
        {
            LoadStage(ptx, plan);
        }

        // ldmatrix: lanes 0 to 15 name the rows' first halves, 16 to 31 the second; for the weights, lanes 8 to 15 the second halves of the first eight rows.
        ptx.Add($"""
            and.b32 rowA, lane, 15;
            mad.lo.u32 rowA, warpRow, {plan.BlockM / plan.Warps.Rows}, rowA;
            shr.u32 at, lane, 4;
            """);
        Offsets(ptx, "a", "rowA", plan.BlockK, 0);
        ptx.Add($"""
            and.b32 rowB, lane, 7;
            mad.lo.u32 rowB, at, 8, rowB;
            mad.lo.u32 rowB, warpColumn, {plan.BlockN / plan.Warps.Columns}, rowB;
            shr.u32 at, lane, 3;
            and.b32 at, at, 1;
            """);
        Offsets(ptx, "b", "rowB", plan.BlockK, plan.BlockM * plan.BlockK);
        ptx.Add($"""
            mov.u32 kBlock, 0;
            mov.u32 readStage, shared;
            MAINLOOP:
            cp.async.wait_group {plan.Stages - 2};
            bar.sync 0;
            """);
        for (int half = 0; half < plan.BlockK / 32; half++)
        {
            ptx.Add($"add.u32 rowA, readStage, a{half}Offset;").Add($"add.u32 rowB, readStage, b{half}Offset;");
            for (int pair = 0; pair < columnBlocks / 2; pair++)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{{Registers("b", 4 * pair, 4)}}}, [rowB+{pair * 16 * plan.BlockK}];");
            }

            for (int block = 0; block < rowBlocks; block++)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{{Registers("a", 4 * block, 4)}}}, [rowA+{block * 16 * plan.BlockK}];");
            }

            if (half == 0)
            {
                // Behind the first fragments, which the multiply units wait for.
                LoadStage(ptx, plan);
            }

            for (int block = 0; block < rowBlocks; block++)
            {
                for (int column = 0; column < columnBlocks; column++)
                {
                    string sums = string.Join(", ", Enumerable.Range(0, 4).Select(i => Accumulator(block, column, i)));
                    ptx.Add($"mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {{{sums}}}, {{{Registers("a", 4 * block, 4)}}}, {{{Registers("b", 2 * column, 2)}}}, {{{sums}}};");
                }
            }
        }

        ptx.Add($"""
            add.u32 readStage, readStage, {StageBytes(plan)};
            add.u32 at, shared, {plan.Stages * StageBytes(plan)};
            setp.eq.u32 again, readStage, at;
            @again mov.u32 readStage, shared;
            add.u32 kBlock, kBlock, 1;
            setp.lt.u32 again, kBlock, kBlocks;
            @again bra MAINLOOP;
            cp.async.wait_group 0;
            and.b32 at, lane, 3;
            mad.lo.u32 sumRow, at, 8, shared;
            shr.u32 at, lane, 2;
            mad.lo.u32 sumRow, at, {plan.SumPitch * 4}, sumRow;
            mad.lo.u32 sumRow, warpColumn, {plan.BlockN / plan.Warps.Columns * 4}, sumRow;
            """);
    }

    /// <summary>The warps of one half of the rows store what they hold.</summary>
    public static void Dump(PtxWriter ptx, IlgpuKernelPlan plan)
    {
        (int rowBlocks, int columnBlocks) = Blocks(plan);
        ptx.Add("bar.sync 0;").Add("setp.eq.u32 isMine, warpRow, %0;");
        for (int block = 0; block < rowBlocks; block++)
        {
            for (int column = 0; column < columnBlocks; column++)
            {
                for (int half = 0; half < 2; half++)
                {
                    int offset = ((((block * 16) + (half * 8)) * plan.SumPitch) + (column * 8)) * 4;
                    ptx.Add($"@isMine st.shared.v2.b32 [sumRow+{offset}], {{{Accumulator(block, column, 2 * half)}, {Accumulator(block, column, (2 * half) + 1)}}};");
                }
            }
        }

        ptx.Add("bar.sync 0;");
    }

    private static (int Rows, int Columns) Blocks(IlgpuKernelPlan plan) => (plan.BlockM / plan.Warps.Rows / 16, plan.BlockN / plan.Warps.Columns / 8);

    private static int StageBytes(IlgpuKernelPlan plan) => (plan.BlockM + plan.BlockN) * plan.BlockK;

    private static int Copies(IlgpuKernelPlan plan) => StageBytes(plan) / 16 / plan.Threads;

    private static string Accumulator(int block, int column, int i) => $"acc{block}_{column}_{i}";

    private static string[] Accumulators(IlgpuKernelPlan plan)
    {
        (int rows, int columns) = Blocks(plan);
        return (from block in Enumerable.Range(0, rows) from column in Enumerable.Range(0, columns) from i in Enumerable.Range(0, 4) select Accumulator(block, column, i)).ToArray();
    }

    private static string Registers(string name, int first, int count) => string.Join(", ", Enumerable.Range(first, count).Select(i => $"{name}{i}"));

    /// <summary>Where a lane's row begins, and its chunk <c>at</c> of each half of the K block.</summary>
    private static void Offsets(PtxWriter ptx, string name, string row, int rowBytes, int offset)
    {
        for (int half = 0; half < 2; half++)
        {
            ptx.Add($"""
                shr.u32 swizzle, {row}, 1;
                add.u32 {name}{half}Offset, at, {2 * half};
                xor.b32 swizzle, swizzle, {name}{half}Offset;
                and.b32 swizzle, swizzle, {Chunks - 1};
                shl.b32 swizzle, swizzle, 4;
                mad.lo.u32 {name}{half}Offset, {row}, {rowBytes}, swizzle;
                add.u32 {name}{half}Offset, {name}{half}Offset, {offset};
                """);
        }
    }

    /// <summary>Starts the copy of the next K block, or an empty group when there is none, so that groups keep their count.</summary>
    private static void LoadStage(PtxWriter ptx, IlgpuKernelPlan plan)
    {
        ptx.Add($"""
            setp.lt.u32 loads, loadBlock, kBlocks;
            mad.lo.u32 at, writeStage, {StageBytes(plan)}, destination;
            """);
        int bytesAtOnce = plan.Threads / Chunks * plan.BlockK;
        for (int i = 0; i < Copies(plan); i++)
        {
            ptx.Add($"@loads cp.async.cg.shared.global [at+{i * bytesAtOnce}], [from{i}], 16, bytes{i};").Add($"add.u64 from{i}, from{i}, {plan.BlockK};");
        }

        ptx.Add($"""
            cp.async.commit_group;
            add.u32 loadBlock, loadBlock, 1;
            add.u32 writeStage, writeStage, 1;
            setp.eq.u32 again, writeStage, {plan.Stages};
            @again mov.u32 writeStage, 0;
            """);
    }
}
