using System.Runtime.InteropServices;

namespace KernelGen.Backends.Cuda;

/// <content>Multiplication in 16 bits: the output head, projections of embeddings, and the schemes fp16 and w8a16.</content>
internal sealed unsafe partial class CudaDecoderKernels
{
    /// <summary>Rows up to which a multiplication is bound by reading the weights.</summary>
    public const int FewRows = 32;

    private const int FewFeatures = 32, FewThreads = 256, ManyTile = 128;

    /// <summary>Output features of a tile by wgmma: for many tiles, and for few.</summary>
    private static readonly int[] WgmmaTiles = [256, 64];

    /// <summary>Queues <c>output = activation(input * weights^T + bias)</c>, summed in f32.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="input">f16 [rows, k].</param>
    /// <param name="rows">M, at least 1.</param>
    /// <param name="weights">f16 [n, k]; bf16 weights are converted when they are loaded.</param>
    /// <param name="n">Output features.</param>
    /// <param name="k">Input features, a multiple of 8. Addresses are multiples of 16, strides of input and weights of 8.</param>
    /// <param name="output">[rows, n] in f16 or f32.</param>
    /// <param name="bias">f32 [n], or 0.</param>
    /// <param name="activation">Applied before rounding.</param>
    /// <param name="invariant">
    /// Whether a row must have the same bits whatever the number of rows: more than <see cref="FewRows"/> are then multiplied in several passes over the
    /// weights, since the kernel for many rows sums in another order.
    /// </param>
    public void FloatGemm(
        CudaStream stream, CudaMatrix input, int rows, CudaMatrix weights, int n, int k, CudaMatrix output, ulong bias = 0, Activation activation = Activation.None, bool invariant = false)
    {
        Require(k > 0 && k % 8 == 0 && input.RowStride % 8 == 0 && weights.RowStride % 8 == 0, $"K is {k}, strides are {input.RowStride} and {weights.RowStride}: multiples of 8 are needed.");
        Require(input.Format == ElementFormat.Float16 && weights.Format == ElementFormat.Float16, $"{input.Format} is multiplied by {weights.Format}: f16 is needed.");
        Require(output.Format != ElementFormat.BFloat16, "A 16-bit multiplication gives f16 or f32, not bf16.");
        FloatGemmArguments arguments = new()
        {
            Input = input.Address,
            Weights = weights.Address,
            Bias = bias,
            Output = output.Address,
            M = (uint)rows,
            N = (uint)n,
            K = (uint)k,
            InputStride = (uint)input.RowStride,
            WeightStride = (uint)weights.RowStride,
            OutputStride = (uint)output.RowStride,
            Activation = (uint)activation,
        };
        if (rows <= FewRows || invariant)
        {
            int tile = rows <= 8 ? 8 : rows <= 16 ? 16 : FewRows;
            long blocks = (long)((n + FewFeatures - 1) / FewFeatures) * ((rows + tile - 1) / tile);
            Launch(stream, DecoderKernelNames.FloatGemmFew(tile, output.Format, int8Weights: false, Capability), arguments, blocks, FewThreads);
            return;
        }

        long rowTiles = (rows + ManyTile - 1) / ManyTile;
        int blockN = rowTiles * ((n + WgmmaTiles[0] - 1) / WgmmaTiles[0]) >= context.Device.Multiprocessors ? WgmmaTiles[0] : WgmmaTiles[1];
        string name = DecoderKernelNames.FloatGemmWgmma(blockN, output.Format);
        if (Capability >= Hopper && kernels.ContainsKey(name))
        {
            LaunchWgmma(stream, name, arguments, output, rowTiles, blockN);
            return;
        }

        name = DecoderKernelNames.FloatGemmMany(output.Format, Capability);
        CudaKernelVariant variant = Kernel(name).Variant;
        Launch(stream, name, arguments, (n + ManyTile - 1) / ManyTile * rowTiles, variant.Threads, variant.SharedBytes);
    }

    /// <summary>The kernel of the int8 multiplication, with operands of 16 bits: it counts K in bytes.</summary>
    private void LaunchWgmma(CudaStream stream, string name, FloatGemmArguments multiplied, CudaMatrix output, long rowTiles, int blockN)
    {
        const int Half = sizeof(ushort), BlockBytes = 128, StoredRows = ManyTile / 2, Alignment = 16;
        long kBytes = (long)multiplied.K * Half, outputBytes = (long)output.RowStride * output.ElementBytes;
        bool bulkStores = output.Address % Alignment == 0 && outputBytes % Alignment == 0;
        GemmArguments arguments = new()
        {
            Output = multiplied.Output,
            Bias = multiplied.Bias,
            M = multiplied.M,
            N = multiplied.N,
            KPadded = checked((uint)((kBytes + BlockBytes - 1) / BlockBytes * BlockBytes)),
            OutputStride = multiplied.OutputStride,
            Activation = multiplied.Activation,
            StoreDirectly = bulkStores ? 0u : 1u,
        };
        TensorMap* maps = (TensorMap*)NativeMemory.AlignedAlloc((nuint)(3 * sizeof(TensorMap)), 128);
        try
        {
            context.Use();
            TensorMap.Encode(&maps[0], multiplied.Input, multiplied.M, kBytes, (long)multiplied.InputStride * Half, ManyTile, null);
            TensorMap.Encode(&maps[1], multiplied.Weights, multiplied.N, kBytes, (long)multiplied.WeightStride * Half, blockN, null);
            if (bulkStores)
            {
                TensorMap.Encode(&maps[2], output.Address, multiplied.M, multiplied.N, outputBytes, StoredRows, output.Format);
            }

            CudaKernel kernel = Kernel(name);
            long tiles = rowTiles * ((multiplied.N + blockN - 1) / blockN);
            void** parameters = stackalloc void*[] { &maps[0], &maps[1], &maps[2], &arguments };
            kernel.Launch(stream, (uint)Math.Min(context.Device.Multiprocessors, tiles), (uint)kernel.Variant.Threads, kernel.Variant.SharedBytes, parameters, early: true);
        }
        finally
        {
            NativeMemory.AlignedFree(maps);
        }
    }

    /// <summary>
    /// Queues <c>output = activation((input * quantized^T) * steps + bias)</c>: int8 weights under 16-bit activations, summed in f32. A row has the same
    /// bits whatever the number of rows.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="input">f16 [rows, K], stride a multiple of 8.</param>
    /// <param name="rows">M, at least 1. More than <see cref="FewRows"/> are multiplied in tiles of as many.</param>
    /// <param name="weights">[N, K], K a multiple of 8; original weights beside them are not read.</param>
    /// <param name="output">[rows, N] in f16 or f32.</param>
    /// <param name="bias">f32 [N], or 0.</param>
    /// <param name="activation">Applied before rounding.</param>
    public void FloatGemm(
        CudaStream stream, CudaMatrix input, int rows, CudaInt8Weights weights, CudaMatrix output, ulong bias = 0, Activation activation = Activation.None)
    {
        int k = weights.InputFeatures, n = weights.OutputFeatures;
        Require(k % 8 == 0 && input.RowStride % 8 == 0, $"K is {k}, the stride of the input {input.RowStride}: multiples of 8 are needed.");
        Require(input.Format == ElementFormat.Float16 && output.Format != ElementFormat.BFloat16, $"int8 weights are multiplied by f16 into f16 or f32, not by {input.Format} into {output.Format}.");
        int tile = rows <= 8 ? 8 : rows <= 16 ? 16 : FewRows;
        FloatGemmArguments arguments = new()
        {
            Input = input.Address,
            Weights = weights.Quantized.Address,
            WeightSteps = weights.ColumnSteps,
            Bias = bias,
            Output = output.Address,
            M = (uint)rows,
            N = (uint)n,
            K = (uint)k,
            InputStride = (uint)input.RowStride,
            WeightStride = (uint)weights.KPadded,
            OutputStride = (uint)output.RowStride,
            Activation = (uint)activation,
        };
        long blocks = (long)((n + FewFeatures - 1) / FewFeatures) * ((rows + tile - 1) / tile);
        Launch(stream, DecoderKernelNames.FloatGemmFew(tile, output.Format, int8Weights: true, Capability), arguments, blocks, FewThreads);
    }
}
