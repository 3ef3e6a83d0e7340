using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// Ampere and later: a ring of K blocks of 128 filled by cp.async, fragments by ldmatrix, products by mma.sync m16n8k32. Rows of a tile are 128
/// bytes; their 16-byte chunks are permuted by the row number, so that neither the copies nor ldmatrix meet a bank twice.
/// </summary>
internal static class MmaGemm
{
    public static string Emit(MmaGemmPlan plan)
    {
        PtxWriter ptx = new();
        int rowBlocks = plan.WarpM / 16, columnBlocks = plan.WarpN / 8, warpColumns = GridGemmPlan.Warps / plan.WarpRows;
        int[] rows = Enumerable.Range(0, rowBlocks * 2).Select(i => (i / 2 * 16) + (i % 2 * 8)).ToArray();
        int[] columns = Enumerable.Range(0, columnBlocks * 2).Select(i => (i / 2 * 8) + (i % 2)).ToArray();
        GridEpilogue epilogue = new(plan, rows, columns);
        ptx.Add($$"""
            .version 7.0
            .target sm_80
            .address_size 64
            .extern .shared .align 128 .b8 dynamicShared[];
            .visible .entry {{plan.Name}}(.param .align 8 .b8 args[{{Arguments.Size}}])
            .maxntid {{GridGemmPlan.Threads}}, 1, 1
            {
            """);
        ptx.Registers("b32", "thread", "lane", "warp", "warpRow", "warpColumn", "shared", "kBlocks", "kBlock", "loadBlock", "tile", "rowTiles", "tileRow", "tileColumn")
           .Registers("b32", "chunk", "chunkRow", "stageBase", "readStage", "writeStage", "destination", "source32", "bytes", "laneChunk", "laneSwizzle", "rowA", "rowB", "addressA", "addressB", "permuted")
           .Registers("b64", "quantized", "weights", "from")
           .Registers("pred", "again", "within", "loads")
           .Registers("b32", Enumerable.Range(0, rowBlocks * 4).Select(i => $"a{i}").Concat(Enumerable.Range(0, columnBlocks * 2).Select(i => $"b{i}")).ToArray());
        epilogue.Declare(ptx);
        ptx.Argument("quantized", nameof(GemmArguments.Quantized), "u64")
           .Argument("weights", nameof(GemmArguments.Weights), "u64")
           .Argument("mTotal", nameof(GemmArguments.M), "u32")
           .Argument("nTotal", nameof(GemmArguments.N), "u32")
           .Argument("kPadded", nameof(GemmArguments.KPadded), "u32")
           .Add($"""
            mov.u32 thread, %tid.x;
            and.b32 lane, thread, 31;
            shr.u32 warp, thread, 5;
            div.u32 warpRow, warp, {warpColumns};
            rem.u32 warpColumn, warp, {warpColumns};
            mov.u32 shared, dynamicShared;
            shr.u32 kBlocks, kPadded, 7;
            mov.u32 tile, %ctaid.x;
            add.u32 rowTiles, mTotal, {plan.BlockM - 1};
            div.u32 rowTiles, rowTiles, {plan.BlockM};
            rem.u32 tileRow, tile, rowTiles;
            div.u32 tileColumn, tile, rowTiles;
            mul.lo.u32 tileRow, tileRow, {plan.BlockM};
            mul.lo.u32 tileColumn, tileColumn, {plan.BlockN};
            and.b32 chunk, thread, 7;
            shr.u32 chunkRow, thread, 3;
            mov.u32 loadBlock, 0;
            mov.u32 writeStage, 0;
            mov.u32 readStage, 0;
            """);
        foreach (string accumulator in epilogue.Accumulators)
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }

        for (int stage = 0; stage < plan.Stages - 1; stage++)
        {
            LoadStage(ptx, plan);
        }

        ptx.Add($"""
            and.b32 laneSwizzle, lane, 7;
            and.b32 rowA, lane, 15;
            mad.lo.u32 rowA, warpRow, {plan.WarpM}, rowA;
            shr.u32 rowB, lane, 4;
            shl.b32 rowB, rowB, 3;
            add.u32 rowB, rowB, laneSwizzle;
            mad.lo.u32 rowB, warpColumn, {plan.WarpN}, rowB;
            shl.b32 rowA, rowA, 7;
            shl.b32 rowB, rowB, 7;
            add.u32 rowB, rowB, {plan.BlockM * MmaGemmPlan.BlockK};
            mov.u32 kBlock, 0;
            MAINLOOP:
            cp.async.wait_group {plan.Stages - 2};
            bar.sync 0;
            """);
        LoadStage(ptx, plan);
        ptx.Add($"""
            mad.lo.u32 stageBase, readStage, {plan.StageBytes}, shared;
            add.u32 addressA, stageBase, rowA;
            add.u32 addressB, stageBase, rowB;
            """);
        for (int k = 0; k < MmaGemmPlan.BlockK / 32; k++)
        {
            // Lanes 0..15 give the rows of A's first 16 bytes, 16..31 of the next; for B the halves alternate every eight lanes.
            ptx.Add($"""
                shr.u32 laneChunk, lane, 4;
                add.u32 laneChunk, laneChunk, {2 * k};
                xor.b32 laneChunk, laneChunk, laneSwizzle;
                shl.b32 laneChunk, laneChunk, 4;
                add.u32 permuted, addressA, laneChunk;
                """);
            for (int block = 0; block < rowBlocks; block++)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{a{4 * block}, a{(4 * block) + 1}, a{(4 * block) + 2}, a{(4 * block) + 3}}}, [permuted+{block * 16 * 128}];");
            }

            ptx.Add($"""
                shr.u32 laneChunk, lane, 3;
                and.b32 laneChunk, laneChunk, 1;
                add.u32 laneChunk, laneChunk, {2 * k};
                xor.b32 laneChunk, laneChunk, laneSwizzle;
                shl.b32 laneChunk, laneChunk, 4;
                add.u32 permuted, addressB, laneChunk;
                """);
            for (int pair = 0; pair < columnBlocks / 2; pair++)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{b{4 * pair}, b{(4 * pair) + 1}, b{(4 * pair) + 2}, b{(4 * pair) + 3}}}, [permuted+{pair * 16 * 128}];");
            }

            for (int block = 0; block < rowBlocks; block++)
            {
                for (int column = 0; column < columnBlocks; column++)
                {
                    string sums = string.Join(", ", Enumerable.Range(0, 4).Select(i => GridEpilogue.Accumulator((2 * block) + (i / 2), (2 * column) + (i % 2))));
                    ptx.Add($"mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {{{sums}}}, {{a{4 * block}, a{(4 * block) + 1}, a{(4 * block) + 2}, a{(4 * block) + 3}}}, {{b{2 * column}, b{(2 * column) + 1}}}, {{{sums}}};");
                }
            }
        }

        ptx.Add($"""
            add.u32 readStage, readStage, 1;
            setp.eq.u32 again, readStage, {plan.Stages};
            @again mov.u32 readStage, 0;
            add.u32 kBlock, kBlock, 1;
            setp.lt.u32 again, kBlock, kBlocks;
            @again bra MAINLOOP;
            cp.async.wait_group 0;
            bar.sync 0;
            mad.lo.u32 gridRow, warpRow, {plan.WarpM}, tileRow;
            shr.u32 chunkRow, lane, 2;
            add.u32 gridRow, gridRow, chunkRow;
            mad.lo.u32 gridColumn, warpColumn, {plan.WarpN}, tileColumn;
            and.b32 chunk, lane, 3;
            shl.b32 chunk, chunk, 1;
            add.u32 gridColumn, gridColumn, chunk;
            mad.lo.u32 scratchSlot, thread, 16, shared;
            """);
        epilogue.Emit(ptx);
        return ptx.Add("""
            ret;
            }
            """).ToString();
    }

    /// <summary>Starts the copy of the next K block, or an empty group when there is none, so that groups keep their count.</summary>
    private static void LoadStage(PtxWriter ptx, MmaGemmPlan plan)
    {
        ptx.Add($"""
            setp.lt.u32 loads, loadBlock, kBlocks;
            mad.lo.u32 stageBase, writeStage, {plan.StageBytes}, shared;
            shl.b32 source32, loadBlock, 7;
            mad.lo.u32 source32, chunk, 16, source32;
            """);
        CopyRows(ptx, plan.BlockM, "tileRow", "mTotal", "quantized", 0);
        CopyRows(ptx, plan.BlockN, "tileColumn", "nTotal", "weights", plan.BlockM * MmaGemmPlan.BlockK);
        ptx.Add($"""
            cp.async.commit_group;
            add.u32 loadBlock, loadBlock, 1;
            add.u32 writeStage, writeStage, 1;
            setp.eq.u32 again, writeStage, {plan.Stages};
            @again mov.u32 writeStage, 0;
            """);
    }

    private static void CopyRows(PtxWriter ptx, int count, string first, string limit, string matrix, int offset)
    {
        const int RowsAtOnce = GridGemmPlan.Threads / 8;
        for (int done = 0; done < count; done += RowsAtOnce)
        {
            // Fewer rows than threads: the others stay out.
            string mine = count - done < RowsAtOnce ? "permitted" : "loads";
            if (mine == "permitted")
            {
                ptx.Add($"setp.lt.u32 within, chunkRow, {count - done};").Add("and.pred within, within, loads;");
                mine = "within";
            }

            ptx.Add($"""
                add.u32 permuted, chunkRow, {done};
                and.b32 destination, permuted, 7;
                xor.b32 destination, destination, chunk;
                shl.b32 destination, destination, 4;
                mad.lo.u32 destination, permuted, 128, destination;
                add.u32 destination, destination, stageBase;
                add.u32 permuted, permuted, {first};
                setp.lt.u32 again, permuted, {limit};
                selp.u32 bytes, 16, 0, again;
                selp.u32 permuted, permuted, 0, again;
                mul.wide.u32 from, permuted, kPadded;
                cvt.u64.u32 pointer, source32;
                add.u64 from, from, pointer;
                add.u64 from, from, {matrix};
                @{mine} cp.async.cg.shared.global [destination+{offset}], [from], 16, bytes;
                """);
        }
    }
}
