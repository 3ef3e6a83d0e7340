namespace KernelGen.Backends.Cuda;

/// <content>Multiplication in 16 bits: the output head, projections of embeddings, and the schemes fp16 and w8a16.</content>
internal sealed unsafe partial class CudaDecoderKernels
{
    /// <summary>Rows up to which a multiplication is bound by reading the weights.</summary>
    public const int FewRows = 32;

    /// <summary>Rows from which int8 weights are widened before they multiply.</summary>
    public const int WidenedRows = 256;

    /// <summary>Parts of the weights are so many output features, or a multiple: no tile crosses into the next.</summary>
    private const int WidenedFeatures = 256;

    private const int FewFeatures = 32, FewThreads = 256, ManyTile = 128;

    /// <summary>Whether many rows are multiplied, and prompts attended to, by wgmma where the device has it; else as on other devices.</summary>
    public bool UsesWgmma { get; init; } = true;

    /// <summary>Queues <c>output = activation(input * weights^T + bias)</c>, summed in f32.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="input">f16 [rows, k].</param>
    /// <param name="rows">M, at least 1.</param>
    /// <param name="weights">f16 [n, k]; bf16 weights are converted when they are loaded. They are read while the kernel ahead still runs: it must not be one that makes them.</param>
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
            MultiplyFew(stream, arguments, output, int8Weights: false);
        }
        else
        {
            MultiplyMany(stream, arguments, output, settled: true);
        }
    }

    /// <summary>Tiles of rows so few that the weights are read at the memory's speed; in several passes where there are more. A row has the same bits in all of them.</summary>
    private void MultiplyFew(CudaStream stream, FloatGemmArguments arguments, CudaMatrix output, bool int8Weights)
    {
        int rows = (int)arguments.M, tile = rows <= 8 ? 8 : rows <= 16 ? 16 : FewRows;
        long blocks = Tiles(arguments.N, FewFeatures) * Tiles(rows, tile);
        Launch(stream, DecoderKernelNames.FloatGemmFew(tile, output.Format, int8Weights, Capability), arguments, blocks, FewThreads);
    }

    /// <summary>Queues one pass over f16 weights.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="arguments">What.</param>
    /// <param name="output">The results' place and type.</param>
    /// <param name="settled">Whether the weights may be read while the kernel ahead still runs.</param>
    private void MultiplyMany(CudaStream stream, FloatGemmArguments arguments, CudaMatrix output, bool settled)
    {
        if (Capability >= Hopper && UsesWgmma && kernels.ContainsKey(DecoderKernelNames.FloatGemmWgmma(WgmmaFloatTile.ManyFeatures, output.Format)))
        {
            MultiplyByWgmma(stream, arguments, output, settled);
            return;
        }

        string name = DecoderKernelNames.FloatGemmMany(output.Format, Capability);
        CudaKernelVariant variant = Kernel(name).Variant;
        Launch(stream, name, arguments, Tiles(arguments.N, ManyTile) * Tiles(arguments.M, ManyTile), variant.Threads, variant.SharedBytes);
    }

    /// <summary>The kernel of the int8 multiplication, with operands of 16 bits: it counts K in bytes.</summary>
    private void MultiplyByWgmma(CudaStream stream, FloatGemmArguments multiplied, CudaMatrix output, bool settled)
    {
        const int Half = sizeof(ushort), BlockBytes = 128;
        int multiprocessors = context.Device.Multiprocessors;
        long kBytes = (long)multiplied.K * Half, rowTiles = Tiles(multiplied.M, WgmmaFloatTile.Rows);
        int blockN = rowTiles * Tiles(multiplied.N, WgmmaFloatTile.ManyFeatures) >= multiprocessors ? WgmmaFloatTile.ManyFeatures : WgmmaFloatTile.FewFeatures;
        GemmArguments arguments = new()
        {
            Output = multiplied.Output,
            ColumnSteps = multiplied.WeightSteps,
            Bias = multiplied.Bias,
            M = multiplied.M,
            N = multiplied.N,
            KPadded = checked((uint)(Tiles(kBytes, BlockBytes) * BlockBytes)),
            OutputStride = multiplied.OutputStride,
            Activation = multiplied.Activation,
            StoreDirectly = output.IsAligned ? 0u : 1u,
        };
        TensorGemm tiles = new(
            multiplied.Input, (long)multiplied.InputStride * Half, multiplied.Weights, (long)multiplied.WeightStride * Half, kBytes, WgmmaFloatTile.Rows, blockN, WgmmaFloatTile.Rows / 2);
        uint grid = (uint)Math.Min(multiprocessors, rowTiles * Tiles(multiplied.N, blockN));
        tiles.Launch(context, stream, Kernel(DecoderKernelNames.FloatGemmWgmma(blockN, output.Format)), arguments, output, grid, cluster: 1, early: settled);
    }

    private static long Tiles(long size, int tile) => (size + tile - 1) / tile;

    /// <summary>Bytes of the room in which int8 weights of a shape are widened: all of them at once, or part by part where they are many.</summary>
    public static long WidenedBytes(int outputFeatures, int inputFeatures)
    {
        const long Most = 256L << 20;
        long rowBytes = WidenedRowBytes(inputFeatures);
        return rowBytes * Math.Min(outputFeatures, Math.Max(WidenedFeatures, Most / rowBytes / WidenedFeatures * WidenedFeatures));
    }

    private static long WidenedRowBytes(int inputFeatures) => Tiles(inputFeatures, CudaInt8Weights.KBlock) * CudaInt8Weights.KBlock * sizeof(ushort);

    /// <summary>The output features that are widened at a time: parts alike, so that none is so small that multiprocessors are idle; 0 where there is no room for any.</summary>
    public static int WidenedPart(int outputFeatures, int inputFeatures, long roomBytes)
    {
        long fitting = roomBytes / WidenedRowBytes(inputFeatures);
        if (fitting >= outputFeatures)
        {
            return outputFeatures;
        }

        int groups = (int)fitting / WidenedFeatures;
        return groups == 0 ? 0 : (int)Tiles(outputFeatures, (int)Tiles(outputFeatures, groups * WidenedFeatures) * WidenedFeatures) * WidenedFeatures;
    }

    /// <summary>
    /// Queues <c>output = activation((input * quantized^T) * steps + bias)</c>: int8 weights under 16-bit activations, summed in f32. Below <see cref="WidenedRows"/>
    /// rows, and without room for widened weights, a row has the same bits whatever the number of rows.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="input">f16 [rows, K], stride a multiple of 8.</param>
    /// <param name="rows">M, at least 1.</param>
    /// <param name="weights">[N, K], K a multiple of 8; original weights beside them are not read. They are read while the kernel ahead still runs: it must not be one that makes them.</param>
    /// <param name="output">[rows, N] in f16 or f32.</param>
    /// <param name="bias">f32 [N], or 0.</param>
    /// <param name="activation">Applied before rounding.</param>
    /// <param name="room">
    /// <see cref="WidenedBytes"/> in which <see cref="WidenedRows"/> and more rows have the weights made f16, exactly, and are then multiplied like by such; null for tiles of <see cref="FewRows"/>
    /// whatever the number of rows.
    /// </param>
    public void FloatGemm(
        CudaStream stream, CudaMatrix input, int rows, CudaInt8Weights weights, CudaMatrix output, ulong bias = 0, Activation activation = Activation.None, CudaBuffer? room = null)
    {
        int k = weights.InputFeatures, n = weights.OutputFeatures;
        Require(k % 8 == 0 && input.RowStride % 8 == 0, $"K is {k}, the stride of the input {input.RowStride}: multiples of 8 are needed.");
        Require(input.Format == ElementFormat.Float16 && output.Format != ElementFormat.BFloat16, $"int8 weights are multiplied by f16 into f16 or f32, not by {input.Format} into {output.Format}.");
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
        if (rows < WidenedRows || room is null)
        {
            MultiplyFew(stream, arguments, output, int8Weights: true);
            return;
        }

        int features = WidenedPart(n, k, room.Bytes);
        Require(features > 0, $"{room.Bytes} bytes are no room for {n} output features of {k} inputs: {WidenedBytes(n, k)} are needed.");
        for (int first = 0; first < n; first += features)
        {
            int count = Math.Min(features, n - first);
            long values = (long)count * weights.KPadded;
            WidenArguments widened = new() { Values = weights.Quantized.Address + (ulong)((long)first * weights.KPadded), Output = room.Address, Pieces = checked((uint)(values / 16)) };
            Launch(stream, DecoderKernelNames.WidenWeights(Capability), widened, Tiles(widened.Pieces, WidenTile.Threads * WidenTile.PiecesPerThread), WidenTile.Threads);
            CudaMatrix part = output.From(first);
            arguments.Weights = room.Address;
            arguments.WeightSteps = weights.ColumnSteps + (ulong)(first * sizeof(float));
            arguments.Bias = bias == 0 ? 0 : bias + (ulong)(first * sizeof(float));
            arguments.Output = part.Address;
            arguments.N = (uint)count;
            MultiplyMany(stream, arguments, part, settled: false);
        }
    }
}
