using KernelGen.Generator.Emit.Cuda;
using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>dp4a in named registers: the loop of the CUDA target's dp4a kernel, whose tile this one has.</summary>
internal static class Dp4aTile
{
    public static void Declare(PtxWriter ptx)
    {
        Dp4aGemm.DeclareOperands(ptx);
        ptx.Registers("b32", Dp4aGemm.Accumulators)
            .Registers("b32", "threadRow", "threadColumn", "kElement", "chunk", "chunkRow", "at", "last", "rowAddress", "columnAddress", "storeAt")
            .Registers("b64", "from", "pointer")
            .Registers("pred", "again");
    }

    public static void Multiply(PtxWriter ptx)
    {
        ptx.Add("""
            and.b32 threadColumn, thread, 15;
            shr.u32 threadRow, thread, 4;
            """);
        Dp4aGemm.Multiply(ptx, step: 8);
        ptx.Add("mad.lo.u32 storeAt, threadColumn, 4, shared;");
    }

    /// <summary>A thread's rows are 16 apart: four of them are in each pass of 64.</summary>
    public static void Dump(PtxWriter ptx, IlgpuKernelPlan plan)
    {
        ptx.Add($"""
            bar.sync 0;
            mad.lo.u32 at, threadRow, {plan.SumPitch * 4}, storeAt;
            """);
        int rowsPerPass = plan.RowsPerPass / Dp4aGemm.Apart;
        for (int pass = 0; pass < plan.BlockM / plan.RowsPerPass; pass++)
        {
            ptx.Add($"setp.eq.u32 isMine, %0, {pass};");
            for (int row = 0; row < rowsPerPass; row++)
            {
                for (int column = 0; column < Dp4aGemm.Grid; column++)
                {
                    ptx.Add($"@isMine st.shared.b32 [at+{((row * Dp4aGemm.Apart * plan.SumPitch) + (column * Dp4aGemm.Apart)) * 4}], {GridEpilogue.Accumulator((pass * rowsPerPass) + row, column)};");
                }
            }
        }

        ptx.Add("bar.sync 0;");
    }
}
