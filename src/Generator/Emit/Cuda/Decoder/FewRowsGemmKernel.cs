using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Few rows against many features, at the speed of the memory. The operands are swapped: features are mma's rows, the batch its columns. Fragments come
/// from global memory without a detour: within 32 values of K every thread takes eight neighbouring ones of a feature in one load, and the same eight
/// of a batch row; both fragments permute K alike, which changes no sum. The warps of a block take turns along K and are summed in their order,
/// so a row's bits depend neither on the batch nor on its tile. Of int8 weights a thread takes 16 neighbouring ones in a load, and two pieces of eight values
/// of the batch; they become f16 exactly (a byte below the exponent of 1024), and every feature's sum is multiplied by its step.
/// </summary>
internal static class FewRowsGemmKernel
{
    /// <summary>K per turn of a warp: two loads of 32 values.</summary>
    private const int BlockK = 64, Tiles = FewRowsGemmPlan.Features / 16;

    /// <summary>From the first value of a lane's first piece to that of its second.</summary>
    private static int PieceStep(FewRowsGemmPlan shape) => shape.Int8Weights ? 8 : 32;

    private static int LaneValues(FewRowsGemmPlan shape) => shape.Int8Weights ? 16 : 8;

    public static string Emit(DecoderKernelPlan plan, FewRowsGemmPlan shape)
    {
        int columns = shape.Rows / 8;
        PtxWriter ptx = Begin<FloatGemmArguments>(plan, FewRowsGemmPlan.Threads);
        ptx.Add($".shared .align 16 .f32 warpSums[{FewRowsGemmPlan.Warps * FewRowsGemmPlan.Features * shape.Rows}];");
        Epilogue.Declare(ptx);
        ptx.Registers("b32", "thread", "warp", "lane", "laneRow", "laneColumn", "rows", "features", "k", "inputStride", "weightStride", "outputStride", "rowTiles", "rowTile", "featureTile", "block", "feature", "row", "kAt", "kLoad", "scratch", "item", "unsigned", "exponent", "excess")
           .Registers("b64", "input", "weights", "biasAt", "scalesAt", "output", "pointer", "offset", "kOffset")
           .Registers("f32", "sum", "value")
           .Registers("b16", "half")
           .Registers("pred", "again", "inK", "valid", "hasBiasVector");
        for (int tile = 0; tile < Tiles; tile++)
        {
            foreach (string side in new[] { "low", "high" })
            {
                ptx.Registers("b64", $"weight{tile}_{side}").Registers("pred", $"has{tile}_{side}");
                foreach (int set in new[] { 0, 1 })
                {
                    ptx.Registers("b32", Names($"a{set}_{tile}_{side}_0_", 4)).Registers("b32", Names($"a{set}_{tile}_{side}_1_", 4));
                    if (shape.Int8Weights)
                    {
                        ptx.Registers("b32", Names($"raw{set}_{tile}_{side}_", 4));
                    }
                }
            }

            for (int column = 0; column < columns; column++)
            {
                ptx.Registers("b32", Names($"acc{tile}_{column}_", 4));
            }
        }

        for (int column = 0; column < columns; column++)
        {
            ptx.Registers("b64", $"batch{column}").Registers("pred", $"inBatch{column}")
               .Registers("b32", Names($"b{column}_0_", 4)).Registers("b32", Names($"b{column}_1_", 4));
        }

        ptx.LaunchNext(plan);
        Prologue(ptx, shape, columns);
        LoadWeights(ptx, shape, 0);
        ptx.WaitForPrevious(plan);
        Mainloop(ptx, shape, columns);
        Sum(ptx, plan, shape, columns);
        return ptx.End();
    }

    private static void Prologue(PtxWriter ptx, FewRowsGemmPlan shape, int columns)
    {
        ptx.Argument<FloatGemmArguments>("input", nameof(FloatGemmArguments.Input), "u64")
           .Argument<FloatGemmArguments>("weights", nameof(FloatGemmArguments.Weights), "u64")
           .Argument<FloatGemmArguments>("biasAt", nameof(FloatGemmArguments.Bias), "u64")
           .Argument<FloatGemmArguments>("output", nameof(FloatGemmArguments.Output), "u64")
           .Argument<FloatGemmArguments>("rows", nameof(FloatGemmArguments.M), "u32")
           .Argument<FloatGemmArguments>("features", nameof(FloatGemmArguments.N), "u32")
           .Argument<FloatGemmArguments>("k", nameof(FloatGemmArguments.K), "u32")
           .Argument<FloatGemmArguments>("inputStride", nameof(FloatGemmArguments.InputStride), "u32")
           .Argument<FloatGemmArguments>("weightStride", nameof(FloatGemmArguments.WeightStride), "u32")
           .Argument<FloatGemmArguments>("outputStride", nameof(FloatGemmArguments.OutputStride), "u32")
           .Argument<FloatGemmArguments>("activation", nameof(FloatGemmArguments.Activation), "u32")
           .Add($"""
            mov.u32 thread, %tid.x;
            shr.u32 warp, thread, 5;
            and.b32 lane, thread, 31;
            shr.u32 laneRow, lane, 2;
            and.b32 laneColumn, lane, 3;
            mov.u32 block, %ctaid.x;
            add.u32 rowTiles, rows, {shape.Rows - 1};
            div.u32 rowTiles, rowTiles, {shape.Rows};
            div.u32 featureTile, block, rowTiles;
            mul.lo.u32 scratch, featureTile, rowTiles;
            sub.u32 rowTile, block, scratch;
            mul.lo.u32 featureTile, featureTile, {FewRowsGemmPlan.Features};
            mul.lo.u32 rowTile, rowTile, {shape.Rows};
            shl.b32 scratch, warp, 6;
            mad.lo.u32 kAt, laneColumn, {LaneValues(shape)}, scratch;
            """);
        for (int tile = 0; tile < Tiles; tile++)
        {
            foreach ((string side, int first) in new[] { ("low", 0), ("high", 8) })
            {
                ptx.Add($"""
                    add.u32 feature, featureTile, laneRow;
                    add.u32 feature, feature, {(tile * 16) + first};
                    setp.lt.u32 has{tile}_{side}, feature, features;
                    mul.wide.u32 pointer, feature, weightStride;
                    shl.b64 pointer, pointer, {(shape.Int8Weights ? 0 : 1)};
                    add.u64 weight{tile}_{side}, weights, pointer;
                    """);
            }
        }

        for (int column = 0; column < columns; column++)
        {
            ptx.Add($"""
                add.u32 row, rowTile, laneRow;
                add.u32 row, row, {column * 8};
                setp.lt.u32 inBatch{column}, row, rows;
                mul.wide.u32 pointer, row, inputStride;
                shl.b64 pointer, pointer, 1;
                add.u64 batch{column}, input, pointer;
                """);
        }

        foreach (string accumulator in Accumulators(columns))
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }
    }

    private static IEnumerable<string> Accumulators(int columns) =>
        from tile in Enumerable.Range(0, Tiles) from column in Enumerable.Range(0, columns) from name in Names($"acc{tile}_{column}_", 4) select name;

    /// <summary>The features' values at kAt into a set of registers; zeros beyond K and beyond the features.</summary>
    private static void LoadWeights(PtxWriter ptx, FewRowsGemmPlan shape, int set)
    {
        const string Instruction = "ld.global.nc.L1::no_allocate.L2::256B.v4.b32";
        if (shape.Int8Weights)
        {
            // Rows are padded with zeros to whole blocks of 128: a piece that begins in K ends in the row.
            ptx.Add("""
                setp.lt.u32 inK, kAt, k;
                cvt.u64.u32 kOffset, kAt;
                """);
            ForSides((tile, side) => Load(ptx, Names($"raw{set}_{tile}_{side}_", 4), $"weight{tile}_{side}", $"has{tile}_{side}", Instruction));
            return;
        }

        for (int load = 0; load < 2; load++)
        {
            Locate(ptx, shape, load);
            ForSides((tile, side) => Load(ptx, Names($"a{set}_{tile}_{side}_{load}_", 4), $"weight{tile}_{side}", $"has{tile}_{side}", Instruction));
        }
    }

    private static void ForSides(System.Action<int, string> body)
    {
        for (int tile = 0; tile < Tiles; tile++)
        {
            body(tile, "low");
            body(tile, "high");
        }
    }

    /// <summary>Sixteen int8 values per side to f16 pairs: with the sign bit turned they are 0 to 255 more than -128, and the low bits of 1024 plus that.</summary>
    private static void WidenWeights(PtxWriter ptx, int set) => ForSides((tile, side) =>
    {
        for (int word = 0; word < 4; word++)
        {
            string target = $"a{set}_{tile}_{side}_{word / 2}_";
            Int8ToHalf.Widen(ptx, $"raw{set}_{tile}_{side}_{word}", $"{target}{2 * (word % 2)}", $"{target}{(2 * (word % 2)) + 1}");
        }
    });

    private static void Locate(PtxWriter ptx, FewRowsGemmPlan shape, int load) => ptx.Add($"""
        add.u32 kLoad, kAt, {load * PieceStep(shape)};
        setp.lt.u32 inK, kLoad, k;
        mul.wide.u32 kOffset, kLoad, 2;
        """);

    private static void Load(PtxWriter ptx, string[] registers, string row, string present, string instruction)
    {
        foreach (string register in registers)
        {
            ptx.Add($"mov.b32 {register}, 0;");
        }

        ptx.Add($"""
            and.pred valid, inK, {present};
            add.u64 pointer, {row}, kOffset;
            @valid {instruction} {Vector(registers)}, [pointer];
            """);
    }

    /// <summary>Turns alternate between two sets of registers: one is loaded while the other is multiplied.</summary>
    private static void Mainloop(PtxWriter ptx, FewRowsGemmPlan shape, int columns)
    {
        if (shape.Int8Weights)
        {
            Int8ToHalf.Prepare(ptx);
        }

        ptx.Add("MULTIPLY:");
        foreach (int set in new[] { 0, 1 })
        {
            for (int load = 0; load < 2; load++)
            {
                Locate(ptx, shape, load);
                for (int column = 0; column < columns; column++)
                {
                    Load(ptx, Names($"b{column}_{load}_", 4), $"batch{column}", $"inBatch{column}", "ld.global.v4.b32");
                }
            }

            ptx.Add($"add.u32 kAt, kAt, {BlockK * FewRowsGemmPlan.Warps};");
            LoadWeights(ptx, shape, 1 - set);
            if (shape.Int8Weights)
            {
                WidenWeights(ptx, set);
            }

            for (int load = 0; load < 2; load++)
            {
                for (int half = 0; half < 2; half++)
                {
                    for (int tile = 0; tile < Tiles; tile++)
                    {
                        string low = $"a{set}_{tile}_low_{load}_", high = $"a{set}_{tile}_high_{load}_";
                        for (int column = 0; column < columns; column++)
                        {
                            string sums = Vector(Names($"acc{tile}_{column}_", 4)), b = $"b{column}_{load}_";
                            ptx.Add($$"""
                                mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{sums}}, {{{low}}{{2 * half}}, {{high}}{{2 * half}}, {{low}}{{(2 * half) + 1}}, {{high}}{{(2 * half) + 1}}}, {{{b}}{{2 * half}}, {{b}}{{(2 * half) + 1}}}, {{sums}};
                                """);
                        }
                    }
                }
            }

            // kAt without the lane's part decides for the whole warp: mma needs all lanes.
            ptx.Add($"""
                mul.lo.u32 scratch, laneColumn, {LaneValues(shape)};
                sub.u32 scratch, kAt, scratch;
                setp.ge.u32 again, scratch, k;
                @again bra MULTIPLIED;
                """);
        }

        ptx.Add("""
            bra MULTIPLY;
            MULTIPLIED:
            """);
    }

    /// <summary>Every warp's sums through shared memory, [warp][batch row][feature]; a result per thread and turn.</summary>
    private static void Sum(PtxWriter ptx, DecoderKernelPlan plan, FewRowsGemmPlan shape, int columns)
    {
        int results = FewRowsGemmPlan.Features * shape.Rows;
        ptx.Add($"""
            shl.b32 scratch, laneColumn, 1;
            mad.lo.u32 scratch, warp, {shape.Rows}, scratch;
            mad.lo.u32 scratch, scratch, {FewRowsGemmPlan.Features}, laneRow;
            shl.b32 scratch, scratch, 2;
            mov.u32 item, warpSums;
            add.u32 scratch, scratch, item;
            """);
        for (int tile = 0; tile < Tiles; tile++)
        {
            for (int column = 0; column < columns; column++)
            {
                for (int i = 0; i < 4; i++)
                {
                    int at = ((((column * 8) + (i % 2)) * FewRowsGemmPlan.Features) + (tile * 16) + (i / 2 * 8)) * 4;
                    ptx.Add($"st.shared.b32 [scratch+{at}], acc{tile}_{column}_{i};");
                }
            }
        }

        ptx.Add($"""
            bar.sync 0;
            setp.ne.u64 hasBiasVector, biasAt, 0;
            mov.u32 item, thread;
            RESULT:
            setp.ge.u32 again, item, {results};
            @again bra DONE;
            and.b32 feature, item, {FewRowsGemmPlan.Features - 1};
            shr.u32 row, item, 5;
            add.u32 feature, feature, featureTile;
            add.u32 row, row, rowTile;
            setp.lt.u32 valid, feature, features;
            setp.lt.and.u32 valid, row, rows, valid;
            @!valid bra NEXT_RESULT;
            shl.b32 scratch, item, 2;
            mov.u32 kLoad, warpSums;
            add.u32 scratch, scratch, kLoad;
            ld.shared.f32 sum, [scratch];
            """);
        for (int warp = 1; warp < FewRowsGemmPlan.Warps; warp++)
        {
            ptx.Add($"""
                ld.shared.f32 value, [scratch+{warp * results * 4}];
                add.rn.f32 sum, sum, value;
                """);
        }

        if (shape.Int8Weights)
        {
            ptx.Argument<FloatGemmArguments>("scalesAt", nameof(FloatGemmArguments.WeightSteps), "u64").Add("""
                mul.wide.u32 offset, feature, 4;
                add.u64 pointer, scalesAt, offset;
                ld.global.nc.f32 value, [pointer];
                mul.rn.f32 sum, sum, value;
                """);
        }

        ptx.Add("""
            mov.f32 value, 0f00000000;
            mul.wide.u32 offset, feature, 4;
            add.u64 pointer, biasAt, offset;
            @hasBiasVector ld.global.nc.f32 value, [pointer];
            @hasBiasVector add.rn.f32 sum, sum, value;
            """);
        Epilogue.Activate(ptx, "sum");
        bool wide = plan.Format == ElementFormat.Float32;
        ptx.Add($"""
            mul.wide.u32 pointer, row, outputStride;
            cvt.u64.u32 offset, feature;
            add.u64 pointer, pointer, offset;
            shl.b64 pointer, pointer, {(wide ? 2 : 1)};
            add.u64 pointer, pointer, output;
            {(wide ? "st.global.f32 [pointer], sum;" : "cvt.rn.f16.f32 half, sum;\nst.global.b16 [pointer], half;")}
            NEXT_RESULT:
            add.u32 item, item, {FewRowsGemmPlan.Threads};
            bra RESULT;
            """);
    }
}
