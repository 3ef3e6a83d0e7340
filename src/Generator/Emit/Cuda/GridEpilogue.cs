using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// The epilogue of kernels whose threads hold a grid of results: scale, outliers straight from global memory, bias, activation, predicated
/// stores. The float32 operations and their order are those of the wgmma kernels.
/// </summary>
/// <param name="plan">The kernel.</param>
/// <param name="rows">A thread's rows, as offsets from the register <c>gridRow</c>.</param>
/// <param name="columns">Its output features, as offsets from <c>gridColumn</c>.</param>
internal sealed class GridEpilogue(GridGemmPlan plan, int[] rows, int[] columns)
{
    /// <summary>Rows whose outliers are summed at a time.</summary>
    private const int RowsAtOnce = 4;

    private GemmNumbers Numbers => plan.Numbers;

    /// <summary>The accumulator of a row and a column of the grid.</summary>
    public static string Accumulator(int row, int column) => $"acc{row}_{column}";

    /// <summary>The sum of a result's outliers, in registers that rows share by turns.</summary>
    private static string Sum(int row, int column) => $"sum{row % RowsAtOnce}_{column}";

    public string[] Accumulators => (from row in Enumerable.Range(0, rows.Length)
                                     from column in Enumerable.Range(0, columns.Length)
                                     select Accumulator(row, column)).ToArray();

    public void Declare(PtxWriter ptx)
    {
        ptx.Registers("b32", Accumulators)
           .Registers("f32", (from row in Enumerable.Range(0, System.Math.Min(rows.Length, RowsAtOnce)) from column in Enumerable.Range(0, columns.Length) select Sum(row, column)).ToArray())
           .Registers("b32", "gridRow", "gridColumn", "mTotal", "nTotal", "kPadded", "outputStride", "scratchSlot", "columnOffset")
           .Registers("b64", "output", "rowSteps", "rowZeros", "weightSums", "biasAt", "pointer", "pointerRow")
           .Registers("b32", rows.Select((_, i) => $"rowZero{i}").ToArray())
           .Registers("f32", rows.Select((_, i) => $"rowStep{i}").Concat(rows.Select((_, i) => $"outlier{i}")).ToArray())
           .Registers("f32", "columnStep", "weight")
           .Registers("b32", "weightSum")
           .Registers("b16", "resultHalf", "halfIn")
           .Registers("pred", "valid", "validColumn", "validRow");
        Epilogue.Declare(ptx);
        Epilogue.DeclareSlots(ptx);
        OutlierHelpers.Declare(ptx);
    }

    /// <summary>Everything after the last product. The tiles' shared memory, from <c>scratchSlot</c> on, is free by then.</summary>
    public void Emit(PtxWriter ptx)
    {
        ptx.Argument("output", nameof(GemmArguments.Output), "u64")
           .Argument("rowSteps", nameof(GemmArguments.RowSteps), "u64")
           .Argument("rowZeros", nameof(GemmArguments.RowZeros), "u64")
           .Argument("weightSums", nameof(GemmArguments.WeightSums), "u64")
           .Argument("biasAt", nameof(GemmArguments.Bias), "u64")
           .Argument("activation", nameof(GemmArguments.Activation), "u32")
           .Argument("outputStride", nameof(GemmArguments.OutputStride), "u32");
        OutlierHelpers.Load(ptx);
        ptx.Add("mul.wide.u32 pointerRow, gridRow, 4;").Add("add.u64 pointer, pointerRow, rowSteps;");
        for (int row = 0; row < rows.Length; row++)
        {
            ptx.Add($"ld.global.f32 rowStep{row}, [pointer+{rows[row] * 4}];");
        }

        if (Numbers.ZeroPoint)
        {
            ptx.Add("add.u64 pointer, pointerRow, rowZeros;");
            for (int row = 0; row < rows.Length; row++)
            {
                ptx.Add($"ld.global.s32 rowZero{row}, [pointer+{rows[row] * 4}];");
            }
        }

        ptx.Add("mul.wide.u32 pointerRow, gridColumn, 4;");
        for (int column = 0; column < columns.Length; column++)
        {
            ptx.Add("add.u64 pointer, pointerRow, columnSteps;").Add($"ld.global.f32 columnStep, [pointer+{columns[column] * 4}];");
            if (Numbers.ZeroPoint)
            {
                ptx.Add("add.u64 pointer, pointerRow, weightSums;").Add($"ld.global.b32 weightSum, [pointer+{columns[column] * 4}];");
            }

            for (int row = 0; row < rows.Length; row++)
            {
                Epilogue.Scale(ptx, Numbers, Accumulator(row, column), $"rowStep{row}", $"rowZero{row}", "columnStep", "weightSum");
            }
        }

        if (Numbers.HasOutliers)
        {
            SumOutliers(ptx);
        }

        ptx.Add("""
            setp.ne.u64 hasBias, biasAt, 0;
            @!hasBias bra NO_BIAS;
            mul.wide.u32 pointerRow, gridColumn, 4;
            add.u64 pointer, pointerRow, biasAt;
            """);
        for (int column = 0; column < columns.Length; column++)
        {
            ptx.Add($"ld.global.f32 bias0, [pointer+{columns[column] * 4}];");
            for (int row = 0; row < rows.Length; row++)
            {
                ptx.Add($"add.rn.f32 {Accumulator(row, column)}, {Accumulator(row, column)}, bias0;");
            }
        }

        ptx.Add("NO_BIAS:");
        Epilogue.ActivateAll(ptx, Accumulators, "scratchSlot", GridGemmPlan.Threads * 16, GridGemmPlan.ScratchSlots);
        Store(ptx);
        if (Numbers.HasOutliers)
        {
            OutlierHelpers.ReleaseMask(ptx, GridGemmPlan.Warps);
        }
    }

    /// <summary>
    /// One chain of fused multiply-adds per element over the mask's columns, ascending; 0 * w where a row has no outlier. A few rows at a time, so that the sums do not
    /// cost a kernel the registers of its second block on a multiprocessor.
    /// </summary>
    private void SumOutliers(PtxWriter ptx)
    {
        Epilogue.ReadSumsApart(ptx, "pointer");
        for (int firstRow = 0; firstRow < rows.Length; firstRow += RowsAtOnce)
        {
            SumOutliers(ptx, firstRow, System.Math.Min(firstRow + RowsAtOnce, rows.Length));
        }
    }

    private void SumOutliers(PtxWriter ptx, int firstRow, int endRow)
    {
        for (int row = firstRow; row < endRow; row++)
        {
            for (int column = 0; column < columns.Length; column++)
            {
                Epilogue.StartSum(ptx, Sum(row, column), Accumulator(row, column));
            }
        }

        OutlierHelpers.ForEachColumn(ptx, () => AddColumn(ptx, firstRow, endRow));
        ptx.Add("mul.wide.u32 pointerRow, gridColumn, 4;").Add("add.u64 pointer, pointerRow, columnSteps;");
        for (int column = 0; column < columns.Length; column++)
        {
            ptx.Add($"ld.global.f32 columnStep, [pointer+{columns[column] * 4}];");
            for (int row = firstRow; row < endRow; row++)
            {
                Epilogue.AddSum(ptx, Sum(row, column), "columnStep", Accumulator(row, column));
            }
        }
    }

    private void AddColumn(PtxWriter ptx, int firstRow, int endRow)
    {
        for (int row = firstRow; row < endRow; row++)
        {
            ptx.Add($"""
                add.u32 row, gridRow, {rows[row]};
                setp.lt.u32 inRange, row, mTotal;
                mov.f32 outlier{row}, 0f00000000;
                mul.wide.u32 address, row, activationStride;
                cvt.u64.u32 offset, column;
                add.u64 address, address, offset;
                shl.b64 address, address, inputShift;
                add.u64 address, address, activations;
                mov.b16 halfIn, 0;
                and.pred keep, inRange, inputIsF32;
                @keep ld.global.f32 outlier{row}, [address];
                not.pred isMine, inputIsF32;
                and.pred keep, inRange, isMine;
                @keep ld.global.b16 halfIn, [address];
                @inputIsF16 cvt.f32.f16 outlier{row}, halfIn;
                cvt.u32.u16 loaded, halfIn;
                shl.b32 loaded, loaded, 16;
                @inputIsBf16 mov.b32 outlier{row}, loaded;
                """);
            if (Numbers.Outliers == OutlierPolicy.Elements)
            {
                ptx.Add($"""
                    abs.f32 magnitude, outlier{row};
                    setp.ge.f32 keep, magnitude, threshold;
                    @!keep mov.f32 outlier{row}, 0f00000000;
                    """);
            }
        }

        for (int column = 0; column < columns.Length; column++)
        {
            ptx.Add($"""
                add.u32 row, gridColumn, {columns[column]};
                setp.lt.u32 inRange, row, nTotal;
                mov.b32 loaded, 0;
                mov.b16 halfIn, 0;
                and.pred keep, inRange, hasOriginals;
                not.pred isMine, hasOriginals;
                and.pred inRange, inRange, isMine;
                mul.wide.u32 address, row, kPadded;
                cvt.u64.u32 offset, column;
                add.u64 address, address, offset;
                add.u64 address, address, weightsBase;
                @inRange ld.global.s8 loaded, [address];
                cvt.rn.f32.s32 weight, loaded;
                selp.u32 item, listOrdinal, column, isCompact;
                mul.wide.u32 address, row, originalStride;
                cvt.u64.u32 offset, item;
                add.u64 address, address, offset;
                shl.b64 address, address, originalShift;
                add.u64 address, address, originals;
                and.pred inRange, keep, originalIsF32;
                @inRange ld.global.f32 weight, [address];
                not.pred isMine, originalIsF32;
                and.pred inRange, keep, isMine;
                @inRange ld.global.b16 halfIn, [address];
                and.pred isMine, inRange, originalIsF16;
                @isMine cvt.f32.f16 weight, halfIn;
                cvt.u32.u16 loaded, halfIn;
                shl.b32 loaded, loaded, 16;
                and.pred isMine, inRange, originalIsBf16;
                @isMine mov.b32 weight, loaded;
                """);
            for (int row = firstRow; row < endRow; row++)
            {
                ptx.Add($"fma.rn.f32 {Sum(row, column)}, outlier{row}, weight, {Sum(row, column)};");
            }
        }
    }

    private void Store(PtxWriter ptx)
    {
        int shift = Numbers.OutputBytes == 2 ? 1 : 2;
        for (int row = 0; row < rows.Length; row++)
        {
            ptx.Add($"""
                add.u32 row, gridRow, {rows[row]};
                setp.lt.u32 validRow, row, mTotal;
                mul.wide.u32 pointerRow, row, outputStride;
                cvt.u64.u32 pointer, gridColumn;
                add.u64 pointer, pointer, pointerRow;
                shl.b64 pointer, pointer, {shift};
                add.u64 pointer, pointer, output;
                """);
            for (int column = 0; column < columns.Length; column++)
            {
                string accumulator = Accumulator(row, column);
                ptx.Add($"""
                    add.u32 columnOffset, gridColumn, {columns[column]};
                    setp.lt.u32 valid, columnOffset, nTotal;
                    and.pred valid, valid, validRow;
                    """);
                switch (Numbers.Output)
                {
                    case ElementFormat.Float32:
                        ptx.Add($"@valid st.global.b32 [pointer+{columns[column] * 4}], {accumulator};");
                        break;
                    case ElementFormat.Float16:
                        ptx.Add($"cvt.rn.f16.f32 resultHalf, {accumulator};").Add($"@valid st.global.b16 [pointer+{columns[column] * 2}], resultHalf;");
                        break;
                    default:
                        // No bf16 conversion before sm_80: nearest even by integer arithmetic; a NaN keeps its top half, made quiet.
                        ptx.Add($"""
                            shr.u32 item, {accumulator}, 16;
                            and.b32 slot, item, 1;
                            add.u32 slot, slot, 0x7FFF;
                            add.u32 slot, slot, {accumulator};
                            shr.u32 slot, slot, 16;
                            or.b32 item, item, 0x40;
                            setp.nan.f32 keep, {accumulator}, {accumulator};
                            selp.b32 slot, item, slot, keep;
                            cvt.u16.u32 resultHalf, slot;
                            @valid st.global.b16 [pointer+{columns[column] * 2}], resultHalf;
                            """);
                        break;
                }
            }
        }
    }
}
