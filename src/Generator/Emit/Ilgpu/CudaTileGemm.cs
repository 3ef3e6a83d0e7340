using KernelGen.Generator.Emit.Cuda;
using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// A tile by inline PTX: one text multiplies, in named registers and with shared memory of its own, because ILGPU keeps arrays in
/// local memory and cannot give ldmatrix an address. The epilogue is C# again: the sums pass through shared memory, 64 rows at a time.
/// </summary>
internal static class CudaTileGemm
{
    private const int RowsPerStep = 8;

    public static void Write(CodeWriter writer, IlgpuKernelPlan plan) => KernelMethod.Write(writer, plan, GemmEpilogue.Parameters, () =>
    {
        PtxWriter declarations = new(), mainloop = new(), dump = new();
        declarations.Add($".shared .align 128 .b8 tiles[{plan.SharedBytes}];").Add(RegisterValues.Declare(RowsPerStep));
        declarations.Registers("b32", "thread", "shared", "tileRow", "tileColumn", "mTotal", "nTotal", "kPadded")
            .Registers("b64", "quantized", "weights")
            .Registers("pred", "isMine");
        if (plan.Instruction == IlgpuInstruction.MmaSync)
        {
            MmaTile.Declare(declarations, plan);
            MmaTile.Multiply(mainloop, plan);
            MmaTile.Dump(dump, plan);
        }
        else
        {
            Dp4aTile.Declare(declarations);
            Dp4aTile.Multiply(mainloop);
            Dp4aTile.Dump(dump, plan);
        }

        GemmEpilogue epilogue = new(plan, new RegisterValues(plan.SumPitch), RowsPerStep);
        writer.Line(QualifiedNames.In($$"""
            int thread = Group.IdxX, rowTiles = (shape.M + {{plan.BlockM - 1}}) / {{plan.BlockM}};
            int tileRow = Grid.IdxX % rowTiles * {{plan.BlockM}}, tileFeature = Grid.IdxX / rowTiles * {{plan.BlockN}};
            """));
        WriteAsm(writer, declarations, "");
        writer.Line(QualifiedNames.In("""
            CudaAsm.Emit("mov.b32 thread, %0; mov.b32 tileRow, %1; mov.b32 tileColumn, %2; mov.u32 shared, tiles;", thread, tileRow, tileFeature);
            CudaAsm.Emit("mov.b32 mTotal, %0; mov.b32 nTotal, %1; shl.b32 kPadded, %2, 2;", shape.M, shape.N, shape.KWords);
            CudaAsm.Emit("mov.b64 quantized, %0; mov.b64 weights, %1;", shape.QuantizedAddress, shape.WeightsAddress);
            """));
        WriteAsm(writer, mainloop, "");
        writer.Line($"int feature = tileFeature + (thread % {plan.BlockN});");
        epilogue.WriteFeature(writer);
        if (plan.HasOutliers)
        {
            WriteStaging(writer, plan);
        }

        using CodeWriter.Scope passes = writer.Block($"for (int pass = 0; pass < {plan.BlockM / plan.RowsPerPass}; pass++)");
        WriteAsm(writer, dump, ", pass");
        using CodeWriter.Scope steps = writer.Block(
            $"for (int localRow = thread / {plan.BlockN} * {RowsPerStep}; localRow < {plan.RowsPerPass}; localRow += {plan.Threads / plan.BlockN * RowsPerStep})");
        writer.Line($"int firstRow = tileRow + (pass * {plan.RowsPerPass}) + localRow;");
        writer.Line($"int sumOffset = ((localRow * {plan.SumPitch}) + (thread % {plan.BlockN})) * 4;");
        epilogue.WriteRows(writer, () => writer.Line(QualifiedNames.In(RegisterValues.At("sumOffset"))));
    });

    /// <summary>
    /// The first outlier columns' weights and activations of the tile, in float32, to where the last K blocks were; the barrier before the first sums
    /// are read is also theirs.
    /// </summary>
    private static void WriteStaging(CodeWriter writer, IlgpuKernelPlan plan)
    {
        writer.Line($"int stagedCount = outlierCount < {IlgpuKernelPlan.StagedColumns} ? outlierCount : {IlgpuKernelPlan.StagedColumns};");
        writer.Line(QualifiedNames.In("Group.Barrier();"));
        using CodeWriter.Scope columns = writer.Block("for (int ordinal = 0; ordinal < stagedCount; ordinal++)");
        writer.Line("int column = outliers[ordinal + 1];");
        using CodeWriter.Scope items = writer.Block($"for (int item = thread; item < {plan.BlockM + plan.BlockN}; item += {plan.Threads})");
        writer.Line($"float staged;");
        using (writer.Block($"if (item < {plan.BlockN})"))
        {
            writer.Line($"int stagedFeature = tileFeature + item < shape.N ? tileFeature + item : lastFeature;");
            writer.Line("staged = OutlierWeight(weights, originals, stagedFeature, column, ordinal, shape);");
        }

        using (writer.Block("else"))
        {
            writer.Line($"staged = OutlierActivation(activations, tileRow + item - {plan.BlockN}, column, shape);");
        }

        writer.Line($"int stagedOffset = {plan.StagedOffset} + (((ordinal * {plan.BlockM + plan.BlockN}) + item) * 4);");
        writer.Line(QualifiedNames.In("CudaAsm.Emit(\"add.u32 stagedWeight, shared, %0; st.shared.f32 [stagedWeight], %1;\", stagedOffset, staged);"));
    }

    private static void WriteAsm(CodeWriter writer, PtxWriter text, string arguments)
    {
        writer.Line(QualifiedNames.In("CudaAsm.Emit("));
        writer.Line("    \"\"\"\n    " + text.ToString().TrimEnd('\n').Replace("\n", "\n    ") + $"\n    \"\"\"{arguments});");
    }
}
