namespace KernelGen.Backends.Cuda;

/// <content>The first part: outliers found, rows quantized.</content>
internal sealed unsafe partial class CudaInt8MatMul
{
    /// <summary>Values that a thread of a quantization kernel takes at a time, threads of its block at most, and its static shared memory.</summary>
    private const int QuantizeGroup = 8, MaxQuantizeThreads = 1024, StaticQuantizeShared = 512;

    /// <summary>
    /// Where the kernel that computes the activations can quantize them itself, in place of <see cref="QuantizeActivations"/>; null where all rows
    /// share a scale, which no row knows. The workspace must be reserved.
    /// </summary>
    public CudaQuantizeTarget? QuantizeTarget(CudaMatMulWorkspace workspace, int rows, CudaInt8Weights weights) => spec.Granularity == QuantizationGranularity.Tensor
        ? null
        : new CudaQuantizeTarget(
            spec.Outliers,
            spec.Activations == ActivationQuantization.ZeroPoint,
            spec.OutlierThreshold,
            workspace.Quantized,
            workspace.RowSteps,
            workspace.RowZeros,
            MaskOf(workspace, weights),
            workspace.RowOutliers(rows),
            workspace.RowOutlierPitch,
            weights.KPadded);

    /// <summary>Queues the first part: outliers found, rows quantized into the workspace.</summary>
    /// <param name="workspace">Takes the result.</param>
    /// <param name="input">[rows, K].</param>
    /// <param name="rows">M.</param>
    /// <param name="weights">[N, K].</param>
    /// <param name="marked">Whether the kernel ahead has marked the outlier columns already.</param>
    public void QuantizeActivations(CudaMatMulWorkspace workspace, CudaMatrix input, int rows, CudaInt8Weights weights, bool marked = false)
    {
        QuantizeArguments arguments = new()
        {
            Input = input.Address,
            Quantized = workspace.Quantized,
            RowSteps = workspace.RowSteps,
            RowZeros = spec.Activations == ActivationQuantization.ZeroPoint ? workspace.RowZeros : 0,
            OutlierMask = MaskOf(workspace, weights),
            TensorRange = workspace.TensorRange,
            RowOutliers = workspace.RowOutliers(rows),
            RowOutlierPitch = workspace.RowOutlierPitch,
            K = (uint)weights.InputFeatures,
            KPadded = (uint)weights.KPadded,
            InputStride = (uint)input.RowStride,
            Threshold = spec.OutlierThreshold,
            Aligned = input.IsAligned ? 1u : 0u,
            Rows = (uint)rows,
            ThresholdPair = ThresholdPair(spec.OutlierThreshold, input.Format),
        };
        // Every kernel waits for the one ahead of it before it touches what that one writes: so each may be scheduled early.
        if (!marked && rows == 1 && RowKernel(CudaKernelRole.QuantizeOneRow, input.Format, arguments) is { } single)
        {
            Launch(single, arguments, rows, input, workspace.Stream, early: true);
            return;
        }

        if (!marked && LaunchInCluster(arguments, input.Format, workspace.Stream))
        {
            return;
        }

        if (spec.Outliers == OutlierPolicy.Columns && !marked)
        {
            CudaKernelVariant detect = Launch(CudaKernelRole.DetectOutliers, arguments, rows, input, workspace.Stream, early: true);
            arguments.InputReady = IsInRegisters(detect) && spec.Granularity != QuantizationGranularity.Tensor ? 1u : 0u;
        }

        if (spec.Granularity == QuantizationGranularity.Tensor)
        {
            CudaDriver.Check(CudaDriver.cuMemsetD8Async(workspace.TensorRange, 0, 8, workspace.Stream.Value));
            Launch(CudaKernelRole.MeasureRange, arguments, rows, input, workspace.Stream, early: false);
        }

        Launch(CudaKernelRole.Quantize, arguments, rows, input, workspace.Stream, early: true);
    }

    /// <summary>
    /// Queues the quantization of a block of weights: the same rounding that activations get, a scale per row and nothing left apart, so these must be
    /// kernels without outliers.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="input">The block, [rows, K].</param>
    /// <param name="rows">Rows of the block.</param>
    /// <param name="weights">Receives the rows and their steps; a step is NaN where the row is not finite.</param>
    /// <param name="firstRow">The block's first row there.</param>
    public void QuantizeWeights(CudaStream stream, CudaMatrix input, int rows, CudaInt8Weights weights, int firstRow)
    {
        if (spec is not { Outliers: OutlierPolicy.None, Activations: ActivationQuantization.Symmetric, Granularity: QuantizationGranularity.Vector })
        {
            throw new InvalidOperationException("Weights are quantized by kernels without outliers or zero-points, with a scale per row.");
        }

        QuantizeArguments arguments = new()
        {
            Input = input.Address,
            Quantized = weights.Quantized.Address + (ulong)((long)firstRow * weights.KPadded),
            RowSteps = weights.ColumnSteps + (ulong)((long)firstRow * sizeof(float)),
            K = (uint)weights.InputFeatures,
            KPadded = (uint)weights.KPadded,
            InputStride = (uint)input.RowStride,
            Aligned = input.IsAligned ? 1u : 0u,
            Rows = (uint)rows,
            ThresholdPair = ThresholdPair(spec.OutlierThreshold, input.Format),
        };
        Launch(CudaKernelRole.Quantize, arguments, rows, input, stream, early: false);
    }

    /// <summary>The newest kernel of a role that takes such rows; null where there is none.</summary>
    private CudaKernelVariant? RowKernel(CudaKernelRole role, ElementFormat input, in QuantizeArguments arguments)
    {
        (uint kPadded, bool aligned) = (arguments.KPadded, arguments.Aligned != 0);
        return usable.Where(variant => variant.Role == role && variant.Format == input && (variant.BlockN == 0 || (aligned && kPadded <= variant.BlockN)))
            .MaxBy(variant => variant.Capability);
    }

    private CudaKernelVariant Launch(CudaKernelRole role, QuantizeArguments arguments, int rows, CudaMatrix input, CudaStream stream, bool early)
    {
        CudaKernelVariant variant = RowKernel(role, input.Format, arguments)
            ?? throw new InvalidOperationException($"No generated kernel quantizes {input.Format} activations on {context.Device}.");
        Launch(variant, arguments, rows, input, stream, early);
        return variant;
    }

    /// <summary>Whether a quantization kernel keeps rows in registers.</summary>
    private static bool IsInRegisters(CudaKernelVariant variant) => variant.BlockN > 0;

    private void Launch(CudaKernelVariant variant, QuantizeArguments arguments, int rows, CudaMatrix input, CudaStream stream, bool early)
    {
        if (IsInRegisters(variant))
        {
            LaunchInRegisters(variant, arguments, rows, stream, early);
            return;
        }

        int groups = (int)(arguments.KPadded / QuantizeGroup);
        int perThread = groups <= 256 ? 1 : 2;
        int threads = Math.Clamp((((groups + perThread - 1) / perThread) + 31) / 32 * 32, 32, MaxQuantizeThreads);
        long cache = (long)arguments.KPadded * input.ElementBytes;
        bool cached = cache <= context.Device.SharedMemoryPerBlock - StaticQuantizeShared;
        arguments.Cached = cached ? 1u : 0u;
        CudaKernel kernel = Kernel(variant);
        if (cached && cache > (48 << 10) - StaticQuantizeShared)
        {
            kernel.AllowShared((int)cache);
        }

        void** parameters = stackalloc void*[] { &arguments };
        kernel.Launch(stream, (uint)rows, (uint)threads, cached ? (int)cache : 0, parameters, early && variant.Capability >= 90);
    }

    private void LaunchInRegisters(CudaKernelVariant variant, QuantizeArguments arguments, int rows, CudaStream stream, bool early)
    {
        RegisterRows launch = RegisterRows.For(rows, (int)arguments.KPadded, variant.BlockN);
        arguments.WarpsPerRow = (uint)launch.WarpsPerRow;
        void** parameters = stackalloc void*[] { &arguments };

        // A kernel that marks no columns does not touch the mask.
        Kernel(variant).Launch(stream, (uint)launch.Blocks, (uint)launch.Threads, RegisterRows.MaskBytes((int)arguments.KPadded), parameters, early);
    }

    /// <summary>Marks and quantizes rows in one launch, where the registers of one cluster hold them and there is a kernel for it.</summary>
    private bool LaunchInCluster(QuantizeArguments arguments, ElementFormat input, CudaStream stream)
    {
        if (RowKernel(CudaKernelRole.QuantizeFewRows, input, arguments) is not { } variant
            || RegisterRows.ForCluster((int)arguments.Rows, (int)arguments.KPadded, variant.BlockN) is not { } launch)
        {
            return false;
        }

        arguments.WarpsPerRow = (uint)launch.WarpsPerRow;
        void** parameters = stackalloc void*[] { &arguments };
        Kernel(variant).Launch(stream, (uint)launch.Blocks, (uint)launch.Threads, 2 * RegisterRows.MaskBytes((int)arguments.KPadded), parameters, early: true, cluster: (uint)launch.Blocks);
        return true;
    }

    /// <summary>Comparing 16-bit values with the smallest such value that is not below the threshold is comparing them with the threshold.</summary>
    private static uint ThresholdPair(float threshold, ElementFormat format)
    {
        uint bits = 0;
        if (format == ElementFormat.Float16)
        {
            Half nearest = (Half)threshold;
            bits = BitConverter.HalfToUInt16Bits((float)nearest < threshold ? Half.BitIncrement(nearest) : nearest);
        }
        else if (format == ElementFormat.BFloat16)
        {
            bits = (uint)(((ulong)BitConverter.SingleToUInt32Bits(threshold) + 0xFFFF) >> 16);
        }

        return bits | (bits << 16);
    }
}
