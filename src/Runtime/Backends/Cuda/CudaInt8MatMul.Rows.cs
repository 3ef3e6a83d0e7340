using System.Runtime.InteropServices;

namespace KernelGen.Backends.Cuda;

/// <content>Single rows that the kernel which multiplies them quantizes, and normalizes, itself.</content>
internal sealed unsafe partial class CudaInt8MatMul
{
    /// <summary>
    /// The kernel that multiplies a single row which nothing has quantized; null where there is none for it: on other devices, for zero-points, a scale of all
    /// rows or calibrated columns, for a curved activation function, where input and output differ in type, where the row is not aligned, not a multiple of
    /// eight values or too long, where several blocks are to share tiles without a cluster, or where tuning found that another kind of kernel than those that
    /// stream the weights is faster.
    /// </summary>
    /// <param name="input">The row; where it is to be normalized, what the norm rounds it to.</param>
    /// <param name="weights">[N, K].</param>
    /// <param name="output">The results' type.</param>
    /// <param name="activation">Applied before rounding.</param>
    /// <param name="normed">Whether it is to be normalized.</param>
    public CudaKernelVariant? SingleRow(CudaMatrix input, CudaInt8Weights weights, ElementFormat output, Activation activation = Activation.None, bool normed = false)
    {
        CudaKernelRole role = normed ? CudaKernelRole.NormedRowGemm : CudaKernelRole.RowGemm;
        bool fits = input.Format == output && input.Address % CudaMatrix.Alignment == 0 && weights.InputFeatures % RowTile.Group == 0 && activation <= Activation.Relu && RowGrid(weights) is not null;
        return fits && Choose(1, weights.OutputFeatures, weights.InputFeatures, output).Role == CudaKernelRole.StreamGemm
            ? usable.Where(variant => variant.Role == role && variant.Format == output && weights.KPadded <= variant.BlockM
                && SharedBytes(variant, weights) <= context.Device.SharedMemoryPerBlock).MinBy(static variant => variant.BlockM)
            : null;
    }

    /// <summary>
    /// Queues the multiplication of a single row, quantization and what may be ahead of it included. Every block reads the row, or what it is made of, while others
    /// store already: results and sum overlap none of it. All addresses are multiples of 16.
    /// </summary>
    /// <param name="stream">Takes the work.</param>
    /// <param name="input">[1, K]; not read where there is a norm.</param>
    /// <param name="norm">What makes the row, or null.</param>
    /// <param name="weights">[N, K].</param>
    /// <param name="output">[1, N].</param>
    /// <param name="bias">As in <see cref="Multiply"/>.</param>
    /// <param name="activation">Applied before rounding.</param>
    /// <param name="variant">What <see cref="SingleRow"/> found.</param>
    /// <exception cref="ArgumentException">The kernel is for other rows, or the row is not aligned.</exception>
    public void MultiplyRow(
        CudaStream stream, CudaMatrix input, CudaNormInput? norm, CudaInt8Weights weights, CudaMatrix output, ulong bias, Activation activation, CudaKernelVariant variant)
    {
        (uint Grid, uint Cluster)? launch = RowGrid(weights);
        if (variant.Role != (norm is null ? CudaKernelRole.RowGemm : CudaKernelRole.NormedRowGemm) || weights.KPadded > variant.BlockM || activation > Activation.Relu
            || weights.InputFeatures % RowTile.Group != 0 || launch is null)
        {
            throw new ArgumentException(
                $"{variant.Name} does not multiply a row{(norm is null ? "" : " behind a norm")} by [{weights.OutputFeatures}, {weights.InputFeatures}] with {activation}.", nameof(variant));
        }

        CudaNormInput made = norm ?? default;
        if ((input.Address | made.Residual | made.Sum | made.First | made.Second | made.Weight | made.Bias) % CudaMatrix.Alignment != 0)
        {
            throw new ArgumentException($"What a single row is made of does not start at multiples of {CudaMatrix.Alignment} bytes.", nameof(input));
        }

        GemmArguments arguments = new()
        {
            Weights = weights.Quantized.Address,
            Output = output.Address,
            ColumnSteps = weights.ColumnSteps,
            Bias = bias,
            Activations = input.Address,
            Originals = weights.Originals,
            N = (uint)weights.OutputFeatures,
            KPadded = (uint)weights.KPadded,
            OriginalFormat = (uint)weights.OriginalFormat,
            OriginalStride = (uint)weights.OriginalStride,
            OriginalsCompact = weights.OriginalsCompact ? 1u : 0u,
            Activation = (uint)activation,
        };
        RowGemmArguments row = new()
        {
            Residual = made.Residual,
            Sum = made.Sum,
            First = made.First,
            Second = made.Second,
            Weight = made.Weight,
            Bias = made.Bias,
            K = (uint)weights.InputFeatures,
            ThresholdPair = ThresholdPair(spec.OutlierThreshold, output.Format),
            Norm = (uint)made.Norm,
            Epsilon = made.Epsilon,
        };
        CudaKernel kernel = Kernel(variant);
        int shared = SharedBytes(variant, weights);
        kernel.AllowShared(shared);
        TensorMap* map = (TensorMap*)NativeMemory.AlignedAlloc((nuint)sizeof(TensorMap), 128);
        try
        {
            context.Use();
            TensorMap.Encode(map, weights.Quantized.Address, weights.OutputFeatures, weights.KPadded, weights.KPadded, variant.BlockN, null);
            void** parameters = stackalloc void*[] { map, &arguments, &row };
            kernel.Launch(stream, launch.Value.Grid, (uint)variant.Threads, shared, parameters, early: true, launch.Value.Cluster);
        }
        finally
        {
            NativeMemory.AlignedFree(map);
        }
    }

    /// <summary>The kernel for a shape, where nothing has quantized the rows yet.</summary>
    private CudaKernelVariant ChooseFor(CudaMatrix input, int rows, CudaInt8Weights weights, ElementFormat output, Activation activation) =>
        (rows == 1 ? SingleRow(input, weights, output, activation) : null) ?? Choose(rows, weights.OutputFeatures, weights.InputFeatures, output);

    /// <summary>Shared memory of a block that holds a single row.</summary>
    private int SharedBytes(CudaKernelVariant kernel, CudaInt8Weights weights) =>
        kernel.SharedBytes + RowTile.Bytes(weights.KPadded, spec.Outliers != OutlierPolicy.None, kernel.BlockM);

    private (uint Grid, uint Cluster)? RowGrid(CudaInt8Weights weights) => StreamGrid.ForRow(
        context.Device.Multiprocessors, (weights.OutputFeatures + RowTile.Features - 1) / RowTile.Features, weights.KPadded / CudaInt8Weights.KBlock);
}
