using KernelGen.Generator.Planning.Cuda;
using static KernelGen.Generator.Emit.Cuda.Decoder.DecoderFrame;
using static KernelGen.Generator.Emit.Cuda.PtxRegisters;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>int8 values to f16, exactly, for the multiplication of many rows by them: pieces of 16, several per thread, all of which are loaded before any is stored.</summary>
internal static class WidenWeightsKernel
{
    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = Begin<WidenArguments>(plan, WidenTile.Threads);
        ptx.Registers("b32", "piece", "pieces", "scratch", "unsigned", "exponent", "excess")
           .Registers("b64", "values", "output", "pointer", "offset")
           .Registers("b32", Names("wide", 8))
           .Registers("pred", Names("has", WidenTile.PiecesPerThread));
        for (int i = 0; i < WidenTile.PiecesPerThread; i++)
        {
            ptx.Registers("b32", Names($"raw{i}_", 4));
        }

        ptx.LaunchNext(plan)
           .Argument<WidenArguments>("values", nameof(WidenArguments.Values), "u64")
           .Argument<WidenArguments>("output", nameof(WidenArguments.Output), "u64")
           .Argument<WidenArguments>("pieces", nameof(WidenArguments.Pieces), "u32")
           .Add($"""
            mov.u32 piece, %ctaid.x;
            mov.u32 scratch, %tid.x;
            mad.lo.u32 piece, piece, {WidenTile.Threads * WidenTile.PiecesPerThread}, scratch;
            mul.wide.u32 offset, piece, 16;
            add.u64 pointer, values, offset;
            """);
        for (int i = 0; i < WidenTile.PiecesPerThread; i++)
        {
            ptx.Add($"""
                add.u32 scratch, piece, {i * WidenTile.Threads};
                setp.lt.u32 has{i}, scratch, pieces;
                @has{i} ld.global.nc.L1::no_allocate.v4.b32 {Vector(Names($"raw{i}_", 4))}, [pointer+{i * WidenTile.Threads * 16}];
                """);
        }

        // The kernel ahead may still read what was widened before.
        ptx.WaitForPrevious(plan).Add("""
            shl.b64 offset, offset, 1;
            add.u64 pointer, output, offset;
            """);
        Int8ToHalf.Prepare(ptx);
        for (int i = 0; i < WidenTile.PiecesPerThread; i++)
        {
            for (int word = 0; word < 4; word++)
            {
                Int8ToHalf.Widen(ptx, $"raw{i}_{word}", $"wide{2 * word}", $"wide{(2 * word) + 1}");
            }

            for (int half = 0; half < 2; half++)
            {
                ptx.Add($"@has{i} st.global.v4.b32 [pointer+{(i * WidenTile.Threads * 32) + (half * 16)}], {Vector(Names("wide", 8).Skip(half * 4).Take(4).ToArray())};");
            }
        }

        return ptx.End();
    }
}
