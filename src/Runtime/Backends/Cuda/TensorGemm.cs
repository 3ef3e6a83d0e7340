using System.Runtime.InteropServices;

namespace KernelGen.Backends.Cuda;

/// <summary>A multiplication whose operands come by TMA, in bytes.</summary>
/// <param name="Input">A, of <see cref="GemmArguments.M"/> rows.</param>
/// <param name="InputRowBytes">From one row of A to the next, a multiple of 16.</param>
/// <param name="Weights">W, of <see cref="GemmArguments.N"/> rows.</param>
/// <param name="WeightRowBytes">From one row of W to the next, a multiple of 16.</param>
/// <param name="KBytes">Bytes of a row's values; beyond them zeros are multiplied.</param>
/// <param name="BlockM">Rows of A per tile.</param>
/// <param name="BlockN">Rows of W per tile.</param>
/// <param name="StoredRows">Rows that leave by one bulk store; 0 where none is used.</param>
internal readonly record struct TensorGemm(ulong Input, long InputRowBytes, ulong Weights, long WeightRowBytes, long KBytes, int BlockM, int BlockN, int StoredRows)
{
    /// <summary>Queues the kernel with its three descriptors and its arguments, which are copied.</summary>
    public unsafe void Launch(CudaContext context, CudaStream stream, CudaKernel kernel, GemmArguments arguments, CudaMatrix output, uint grid, uint cluster, bool early)
    {
        TensorMap* maps = (TensorMap*)NativeMemory.AlignedAlloc((nuint)(3 * sizeof(TensorMap)), 128);
        try
        {
            context.Use();
            TensorMap.Encode(&maps[0], Input, arguments.M, KBytes, InputRowBytes, BlockM, null);
            TensorMap.Encode(&maps[1], Weights, arguments.N, KBytes, WeightRowBytes, BlockN, null);
            if (StoredRows > 0 && arguments.StoreDirectly == 0)
            {
                TensorMap.Encode(&maps[2], output.Address, arguments.M, arguments.N, output.RowBytes, StoredRows, output.Format);
            }

            void** parameters = stackalloc void*[] { &maps[0], &maps[1], &maps[2], &arguments };
            kernel.Launch(stream, grid, (uint)kernel.Variant.Threads, kernel.Variant.SharedBytes, parameters, early, cluster);
        }
        finally
        {
            NativeMemory.AlignedFree(maps);
        }
    }
}
