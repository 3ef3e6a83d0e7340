using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Many rows in 16 bits: tiles of 128 x 128, K blocks of 32 in a ring of asynchronous copies, ldmatrix and mma.sync; eight warps of 64 x 32 results.
/// </summary>
internal static class ManyRowsGemmKernel
{
    private const int Tile = ManyRowsGemmPlan.Tile, BlockK = ManyRowsGemmPlan.BlockK, Pitch = ManyRowsGemmPlan.Pitch, Stages = ManyRowsGemmPlan.Stages;

    private const int RowTiles = 4, ColumnTiles = 4, Slots = 4;

    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = Begin<FloatGemmArguments>(plan, ManyRowsGemmPlan.Threads, dynamicShared: true);
        string[] accumulators = Accumulators().ToArray();
        Epilogue.Declare(ptx);
        Epilogue.DeclareSlots(ptx);
        ptx.Registers("b32", "thread", "warp", "lane", "laneRow", "laneColumn", "rows", "features", "k", "inputStride", "weightStride", "outputStride", "rowTiles", "rowTile", "featureTile", "block", "feature", "row", "kAt", "kCopy", "scratch", "item", "stage", "copyStage", "copyAddress", "rowLane", "featureLane", "stageRows", "stageFeatures", "copyBytes", "slot")
           .Registers("b64", "input", "weights", "biasAt", "output", "pointer", "offset", "kOffset")
           .Registers("b64", Names("copyRow", 2)).Registers("b64", Names("copyFeature", 2)).Registers("pred", Names("hasRow", 2)).Registers("pred", Names("hasFeature", 2))
           .Registers("b16", "half")
           .Registers("b32", Names("b", 4))
           .Registers("b32", accumulators)
           .Registers("b64", "stepsAt")
           .Registers("f32", "biasLow", "biasHigh", "stepLow", "stepHigh")
           .Registers("pred", "again", "inK", "valid", "hasBiasVector", "hasSteps", "hasLow", "hasHigh", "has");
        for (int i = 0; i < RowTiles; i++)
        {
            ptx.Registers("b32", Names($"a{i}_", 4));
        }

        for (int i = 0; i < ColumnTiles; i++)
        {
            ptx.Registers("b32", Names($"w{i}_", 2));
        }

        ptx.LaunchNext(plan);
        Prologue(ptx, accumulators);
        ptx.WaitForPrevious(plan);
        Mainloop(ptx);
        Store(ptx, plan, accumulators);
        return ptx.End();
    }

    private static IEnumerable<string> Accumulators() =>
        from i in Enumerable.Range(0, RowTiles) from j in Enumerable.Range(0, ColumnTiles) from name in Names($"acc{i}_{j}_", 4) select name;

    private static void Prologue(PtxWriter ptx, string[] accumulators)
    {
        ptx.Argument<FloatGemmArguments>("input", nameof(FloatGemmArguments.Input), "u64")
           .Argument<FloatGemmArguments>("weights", nameof(FloatGemmArguments.Weights), "u64")
           .Argument<FloatGemmArguments>("biasAt", nameof(FloatGemmArguments.Bias), "u64")
           .Argument<FloatGemmArguments>("stepsAt", nameof(FloatGemmArguments.WeightSteps), "u64")
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
            shl.b32 laneColumn, laneColumn, 1;
            mov.u32 block, %ctaid.x;
            add.u32 rowTiles, rows, {Tile - 1};
            shr.u32 rowTiles, rowTiles, 7;
            div.u32 featureTile, block, rowTiles;
            mul.lo.u32 scratch, featureTile, rowTiles;
            sub.u32 rowTile, block, scratch;
            shl.b32 featureTile, featureTile, 7;
            shl.b32 rowTile, rowTile, 7;
            and.b32 kCopy, thread, 3;
            shl.b32 scratch, kCopy, 4;
            shl.b32 kCopy, kCopy, 3;
            shr.u32 item, thread, 2;
            mov.u32 copyAddress, dynamicShared;
            mad.lo.u32 copyAddress, item, {Pitch}, copyAddress;
            add.u32 copyAddress, copyAddress, scratch;
            """);
        for (int i = 0; i < 2; i++)
        {
            ptx.Add($"""
                add.u32 row, rowTile, item;
                add.u32 row, row, {i * 64};
                setp.lt.u32 hasRow{i}, row, rows;
                mul.wide.u32 pointer, row, inputStride;
                shl.b64 pointer, pointer, 1;
                add.u64 copyRow{i}, input, pointer;
                @!hasRow{i} mov.u64 copyRow{i}, input;
                add.u32 feature, featureTile, item;
                add.u32 feature, feature, {i * 64};
                setp.lt.u32 hasFeature{i}, feature, features;
                mul.wide.u32 pointer, feature, weightStride;
                shl.b64 pointer, pointer, 1;
                add.u64 copyFeature{i}, weights, pointer;
                @!hasFeature{i} mov.u64 copyFeature{i}, weights;
                """);
        }

        // ldmatrix: A's tiles are rows 0-7 and 8-15, then K + 8; B's are K and K + 8 of features 0-7, then of 8-15.
        ptx.Add($"""
            and.b32 scratch, lane, 15;
            and.b32 item, warp, 1;
            mad.lo.u32 scratch, item, 64, scratch;
            mov.u32 rowLane, dynamicShared;
            mad.lo.u32 rowLane, scratch, {Pitch}, rowLane;
            shr.u32 scratch, lane, 4;
            mad.lo.u32 rowLane, scratch, 16, rowLane;
            and.b32 item, lane, 7;
            mad.lo.u32 item, scratch, 8, item;
            shr.u32 scratch, warp, 1;
            mad.lo.u32 item, scratch, 32, item;
            mov.u32 featureLane, dynamicShared;
            mad.lo.u32 featureLane, item, {Pitch}, featureLane;
            shr.u32 scratch, lane, 3;
            and.b32 scratch, scratch, 1;
            mad.lo.u32 featureLane, scratch, 16, featureLane;
            add.u32 featureLane, featureLane, {Tile * Pitch};
            """);
        foreach (string accumulator in accumulators)
        {
            ptx.Add($"mov.b32 {accumulator}, 0;");
        }
    }

    /// <summary>The K block at kCopy to stage copyStage; zeros beyond K, rows and features. Always a group, so that groups count blocks.</summary>
    private static void Copy(PtxWriter ptx)
    {
        ptx.Add($"""
            setp.lt.u32 inK, kCopy, k;
            mul.wide.u32 kOffset, kCopy, 2;
            @!inK mov.u64 kOffset, 0;
            mad.lo.u32 scratch, copyStage, {ManyRowsGemmPlan.StageBytes}, copyAddress;
            """);
        foreach ((string source, string present, int shared) in new[] { ("copyRow", "hasRow", 0), ("copyFeature", "hasFeature", Tile * Pitch) })
        {
            for (int i = 0; i < 2; i++)
            {
                ptx.Add($"""
                    and.pred valid, inK, {present}{i};
                    selp.b32 copyBytes, 16, 0, valid;
                    add.u64 pointer, {source}{i}, kOffset;
                    cp.async.cg.shared.global [scratch+{shared + (i * 64 * Pitch)}], [pointer], 16, copyBytes;
                    """);
            }
        }

        ptx.Add($"""
            cp.async.commit_group;
            add.u32 kCopy, kCopy, {BlockK};
            add.u32 copyStage, copyStage, 1;
            setp.eq.u32 valid, copyStage, {Stages};
            @valid mov.u32 copyStage, 0;
            """);
    }

    private static void Mainloop(PtxWriter ptx)
    {
        ptx.Add("mov.u32 copyStage, 0;");
        for (int stage = 0; stage < Stages - 1; stage++)
        {
            Copy(ptx);
        }

        ptx.Add($"""
            mov.u32 stage, 0;
            mov.u32 kAt, 0;
            MULTIPLY:
            cp.async.wait_group {Stages - 2};
            bar.sync 0;
            """);
        Copy(ptx);
        ptx.Add($"""
            mad.lo.u32 stageRows, stage, {ManyRowsGemmPlan.StageBytes}, rowLane;
            mad.lo.u32 stageFeatures, stage, {ManyRowsGemmPlan.StageBytes}, featureLane;
            """);
        for (int step = 0; step < BlockK / 16; step++)
        {
            for (int i = 0; i < RowTiles; i++)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {Vector(Names($"a{i}_", 4))}, [stageRows+{(i * 16 * Pitch) + (step * 32)}];");
            }

            for (int j = 0; j < ColumnTiles; j += 2)
            {
                ptx.Add($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {Vector($"w{j}_0", $"w{j}_1", $"w{j + 1}_0", $"w{j + 1}_1")}, [stageFeatures+{(j * 8 * Pitch) + (step * 32)}];");
            }

            for (int i = 0; i < RowTiles; i++)
            {
                for (int j = 0; j < ColumnTiles; j++)
                {
                    string sums = Vector(Names($"acc{i}_{j}_", 4));
                    ptx.Add($"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {sums}, {Vector(Names($"a{i}_", 4))}, {Vector(Names($"w{j}_", 2))}, {sums};");
                }
            }
        }

        ptx.Add($"""
            add.u32 stage, stage, 1;
            setp.eq.u32 again, stage, {Stages};
            @again mov.u32 stage, 0;
            add.u32 kAt, kAt, {BlockK};
            setp.lt.u32 again, kAt, k;
            @again bra MULTIPLY;
            cp.async.wait_all;
            bar.sync 0;
            """);
    }

    private static void Store(PtxWriter ptx, DecoderKernelPlan plan, string[] accumulators)
    {
        ptx.Add($"""
            setp.ne.u64 hasBiasVector, biasAt, 0;
            setp.ne.u64 hasSteps, stepsAt, 0;
            shr.u32 scratch, warp, 1;
            shl.b32 scratch, scratch, 5;
            add.u32 feature, featureTile, scratch;
            add.u32 feature, feature, laneColumn;
            and.b32 scratch, warp, 1;
            shl.b32 scratch, scratch, 6;
            add.u32 row, rowTile, scratch;
            add.u32 row, row, laneRow;
            """);
        for (int j = 0; j < ColumnTiles; j++)
        {
            ptx.Add($"""
                add.u32 item, feature, {j * 8};
                mul.wide.u32 offset, item, 4;
                setp.lt.u32 hasLow, item, features;
                add.u32 item, item, 1;
                setp.lt.u32 hasHigh, item, features;
                """);
            foreach ((string vector, string given, string value, string without) in new[] { ("biasAt", "hasBiasVector", "bias", "0f00000000"), ("stepsAt", "hasSteps", "step", "0f3F800000") })
            {
                ptx.Add($"""
                    add.u64 pointer, {vector}, offset;
                    mov.f32 {value}Low, {without};
                    mov.f32 {value}High, {without};
                    and.pred has, {given}, hasLow;
                    @has ld.global.nc.f32 {value}Low, [pointer];
                    and.pred has, {given}, hasHigh;
                    @has ld.global.nc.f32 {value}High, [pointer+4];
                    """);
            }

            for (int i = 0; i < RowTiles; i++)
            {
                for (int part = 0; part < 4; part++)
                {
                    string side = part % 2 == 0 ? "Low" : "High";
                    ptx.Add($"fma.rn.f32 acc{i}_{j}_{part}, acc{i}_{j}_{part}, step{side}, bias{side};");
                }
            }
        }

        ptx.Add($"""
            mov.u32 slot, dynamicShared;
            mad.lo.u32 slot, thread, 16, slot;
            """);
        Epilogue.ActivateAll(ptx, accumulators, "slot", 16 * ManyRowsGemmPlan.Threads, Slots);
        bool wide = plan.Format == ElementFormat.Float32;
        for (int i = 0; i < RowTiles; i++)
        {
            foreach (int side in new[] { 0, 1 })
            {
                ptx.Add($"""
                    add.u32 item, row, {(i * 16) + (side * 8)};
                    setp.lt.u32 valid, item, rows;
                    mul.wide.u32 pointer, item, outputStride;
                    cvt.u64.u32 offset, feature;
                    add.u64 pointer, pointer, offset;
                    shl.b64 pointer, pointer, {(wide ? 2 : 1)};
                    add.u64 pointer, pointer, output;
                    """);
                for (int j = 0; j < ColumnTiles; j++)
                {
                    for (int part = 0; part < 2; part++)
                    {
                        string sum = $"acc{i}_{j}_{(side * 2) + part}";
                        ptx.Add($"""
                            add.u32 item, feature, {(j * 8) + part};
                            setp.lt.and.u32 hasLow, item, features, valid;
                            """);
                        ptx.Add(wide
                            ? $"@hasLow st.global.b32 [pointer+{((j * 8) + part) * 4}], {sum};"
                            : $"cvt.rn.f16.f32 half, {sum};\n@hasLow st.global.b16 [pointer+{((j * 8) + part) * 2}], half;");
                    }
                }
            }
        }
    }
}
