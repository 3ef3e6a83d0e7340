using ILGPU;
using ILGPU.Runtime;
using KernelGen.Backends.Ilgpu;

namespace KernelGen;

/// <summary>
/// LLM.int8() (arXiv 2208.07339) on an ILGPU accelerator, by the kernels that were generated for an <see cref="Int8KernelAttribute"/> class. Outlier columns
/// are found, listed and multiplied on the device; nothing waits for the host. Not thread-safe. Dispose it before the accelerator.
/// </summary>
public sealed class IlgpuInt8MatMul : IDisposable
{
    private readonly IlgpuKernels kernels;
    private readonly IlgpuWorkspace workspace;
    private readonly Int8KernelSet set;
    private readonly MemoryBuffer1D<float, Stride1D.Dense> noBias;

    /// <summary>Prepares a set's kernels for an accelerator; each is compiled when it is first used.</summary>
    /// <param name="accelerator">The accelerator.</param>
    /// <param name="kernels">The set.</param>
    /// <exception cref="ArgumentException">The set has no ILGPU kernels, or none for this accelerator.</exception>
    /// <exception cref="IlgpuException">The device's memory does not suffice.</exception>
    public IlgpuInt8MatMul(IlgpuAccelerator accelerator, Int8KernelSet kernels)
    {
        ArgumentNullException.ThrowIfNull(accelerator);
        ArgumentNullException.ThrowIfNull(kernels);
        if (kernels.IlgpuVariants.Count == 0)
        {
            throw new ArgumentException(
                $"{kernels.Name} has no ILGPU kernels: set Targets = KernelTargets.Cpu | KernelTargets.Ilgpu on the class, in a project that references ILGPU.", nameof(kernels));
        }

        Variants = [.. kernels.IlgpuVariants.Where(variant => IlgpuKernels.Reject(accelerator.Device, variant) is null)];
        if (!Variants.Any(variant => variant.Role == IlgpuKernelRole.TileGemm) || !Variants.Any(variant => variant.Role == IlgpuKernelRole.Quantize))
        {
            throw new ArgumentException(
                string.Join("; ", kernels.IlgpuVariants.Select(variant => IlgpuKernels.Reject(accelerator.Device, variant)).OfType<string>()), nameof(accelerator));
        }

        Accelerator = accelerator;
        set = kernels;
        this.kernels = new IlgpuKernels(accelerator);
        workspace = new IlgpuWorkspace(accelerator);
        noBias = accelerator.Allocate<float>(1, "a bias");
    }

    /// <summary>The accelerator.</summary>
    public IlgpuAccelerator Accelerator { get; }

    /// <summary>The set's kernels that the accelerator can run.</summary>
    public IReadOnlyList<IlgpuKernelVariant> Variants { get; }

    /// <summary>The kernels that can multiply so many rows.</summary>
    /// <param name="rows">M.</param>
    /// <returns>The GEMM kernels, the one that <see cref="Choose"/> takes first.</returns>
    public IEnumerable<IlgpuKernelVariant> CandidatesFor(int rows) => Variants
        .Where(variant => variant.Role == IlgpuKernelRole.TileGemm || (variant.Role == IlgpuKernelRole.FewRowGemm && rows <= variant.BlockM))
        .OrderBy(variant => variant.Role == IlgpuKernelRole.FewRowGemm ? 0 : 1)
        .ThenByDescending(variant => variant.Instruction)
        .ThenBy(variant => variant.BlockM);

    /// <summary>The kernel for so many rows, without measuring: the narrowest for few rows that takes them, else the best multiply instruction.</summary>
    /// <param name="rows">M.</param>
    /// <returns>A GEMM kernel.</returns>
    public IlgpuKernelVariant Choose(int rows) => CandidatesFor(rows).First();

    /// <summary>Multiplies host arrays: <c>result[m,n] = activation(sum over k of a[m,k] * w[n,k] + bias[n])</c>, and waits for the result.</summary>
    /// <typeparam name="TInput">float, <see cref="System.Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <typeparam name="TOutput">float, <see cref="System.Half"/> or <see cref="BFloat16"/>; results are rounded to it once.</typeparam>
    /// <param name="a">Activations, [rows, K].</param>
    /// <param name="rows">M; zero rows do nothing.</param>
    /// <param name="weights">Weights on this accelerator.</param>
    /// <param name="result">Results, [rows, N], overwritten.</param>
    /// <param name="bias">N values, or empty for none.</param>
    /// <param name="options">Row strides, activation function, threshold; null for the defaults.</param>
    /// <param name="kernel">The GEMM kernel; null for the one that <see cref="Choose"/> takes.</param>
    /// <exception cref="ArgumentException">A span is too short, the weights are of another accelerator, or an option is out of range.</exception>
    /// <exception cref="NotSupportedException">An element type is not supported.</exception>
    /// <exception cref="IlgpuException">The device's memory does not suffice, or a kernel fails.</exception>
    public void MatMul<TInput, TOutput>(
        ReadOnlySpan<TInput> a,
        int rows,
        IlgpuInt8Weights weights,
        Span<TOutput> result,
        ReadOnlySpan<float> bias = default,
        MatMulOptions? options = null,
        IlgpuKernelVariant? kernel = null)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        ArgumentNullException.ThrowIfNull(weights);
        options ??= MatMulOptions.Default;
        Quantization.Elements.ThrowIfUnsupported<TInput>();
        Quantization.Elements.ThrowIfUnsupported<TOutput>();
        int k = weights.InputFeatures, n = weights.OutputFeatures;
        int inputStride = options.InputRowStride ?? k, outputStride = options.OutputRowStride ?? n;
        ElementFormat input = IlgpuHostArrays.FormatOf<TInput>(), output = IlgpuHostArrays.FormatOf<TOutput>();
        IlgpuHostArrays.Check(nameof(a), a.Length, rows, k, inputStride);
        IlgpuHostArrays.Check(nameof(result), result.Length, rows, n, outputStride);
        if (!bias.IsEmpty && bias.Length != n)
        {
            throw new ArgumentException($"The bias has {bias.Length} values, the weights have {n} output features.", nameof(bias));
        }

        if (rows == 0)
        {
            return;
        }

        using MemoryBuffer1D<byte, Stride1D.Dense> inputs = IlgpuHostArrays.Upload(Accelerator, a[..(((rows - 1) * inputStride) + k)], "activations");
        using MemoryBuffer1D<byte, Stride1D.Dense> outputs = Accelerator.Allocate<byte>(IlgpuMatrix.BytesOf(rows, n, output), "results");
        using MemoryBuffer1D<float, Stride1D.Dense>? addend = bias.IsEmpty ? null : AllocateBias(bias, weights);
        Multiply(
            new IlgpuMatrix(inputs.View.BaseView, input, inputStride), rows, weights, new IlgpuMatrix(outputs.View.BaseView, output, n),
            addend is null ? default : addend.View.BaseView, options.Activation, kernel, options.OutlierThreshold);
        Accelerator.Synchronize();
        IlgpuHostArrays.Download(Accelerator, outputs, rows, n, result, outputStride);
    }

    /// <summary>A bias in device memory, as <see cref="Multiply"/> wants it: padded to whole tiles.</summary>
    /// <param name="bias">N values.</param>
    /// <param name="weights">The weights that it belongs to.</param>
    /// <returns>The buffer; the caller disposes it.</returns>
    /// <exception cref="ArgumentException">There are not N values.</exception>
    public MemoryBuffer1D<float, Stride1D.Dense> AllocateBias(ReadOnlySpan<float> bias, IlgpuInt8Weights weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        if (bias.Length != weights.OutputFeatures)
        {
            throw new ArgumentException($"The bias has {bias.Length} values, '{weights.Name}' has {weights.OutputFeatures} output features.", nameof(bias));
        }

        float[] padded = new float[weights.Padded];
        bias.CopyTo(padded);
        MemoryBuffer1D<float, Stride1D.Dense> buffer = Accelerator.Allocate<float>(padded.Length, "a bias");
        Accelerator.Upload<float>(buffer, padded);
        return buffer;
    }

    /// <summary>Queues <c>output = activation(input * weights^T + bias)</c> on the accelerator's stream.</summary>
    /// <param name="input">[rows, K].</param>
    /// <param name="rows">M.</param>
    /// <param name="weights">[N, K].</param>
    /// <param name="output">[rows, N].</param>
    /// <param name="bias">What <see cref="AllocateBias"/> returned; empty for none.</param>
    /// <param name="activation">Applied before rounding.</param>
    /// <param name="kernel">The GEMM kernel; null for the one that <see cref="Choose"/> takes.</param>
    /// <param name="outlierThreshold">Positive and finite; null for the spec's.</param>
    /// <exception cref="ArgumentException">A matrix is too small, something is of another accelerator, or the kernel does not take so many rows.</exception>
    /// <exception cref="IlgpuException">The device's memory does not suffice, or a kernel fails.</exception>
    public void Multiply(
        IlgpuMatrix input,
        int rows,
        IlgpuInt8Weights weights,
        IlgpuMatrix output,
        ArrayView<float> bias = default,
        Activation activation = Activation.None,
        IlgpuKernelVariant? kernel = null,
        float? outlierThreshold = null)
    {
        float threshold = Check(input, rows, weights, output, bias, activation, outlierThreshold);
        if (rows == 0)
        {
            return;
        }

        kernel ??= Choose(rows);
        QuantizeActivations(input, rows, weights, threshold);
        Gemm(input, rows, weights, output, bias, activation, kernel, threshold);
    }

    /// <summary>Frees the workspace.</summary>
    public void Dispose()
    {
        workspace.Dispose();
        noBias.Dispose();
    }

    /// <summary>Queues the first part: outliers found, rows quantized into the workspace, outliers listed.</summary>
    internal void QuantizeActivations(IlgpuMatrix input, int rows, IlgpuInt8Weights weights, float threshold)
    {
        workspace.Reserve(rows, weights.KWords);
        IlgpuRowShape shape = new()
        {
            K = weights.InputFeatures,
            KWords = weights.KWords,
            InputStride = input.RowStride,
            InputFormat = (int)input.Format,
            Threshold = threshold,
        };
        ArrayView<int> values = input.Memory.Cast<int>(), mask = weights.HasFixedOutliers ? weights.Mask.View.BaseView : workspace.Mask;
        if (set.Spec.Granularity == QuantizationGranularity.Tensor)
        {
            workspace.Range.MemSetToZero(Accelerator.Stream);
        }

        foreach (IlgpuKernelRole role in new[] { IlgpuKernelRole.DetectOutliers, IlgpuKernelRole.MeasureRange, IlgpuKernelRole.Quantize })
        {
            if (Variants.FirstOrDefault(variant => variant.Role == role) is { } variant)
            {
                Launch(variant, () => kernels.Row(variant)(
                    Accelerator.Stream, new KernelConfig(rows, variant.Threads), values, workspace.Quantized, workspace.RowSteps, workspace.RowZeros, mask, workspace.Range, shape));
            }
        }

        if (Variants.FirstOrDefault(variant => variant.Role == IlgpuKernelRole.ListOutliers) is { } list)
        {
            Launch(list, () => kernels.List(list)(Accelerator.Stream, new KernelConfig(1, list.Threads), workspace.Mask, workspace.Outliers, shape));
        }
    }

    /// <summary>Queues the second part: multiplication and epilogue.</summary>
    internal void Gemm(
        IlgpuMatrix input, int rows, IlgpuInt8Weights weights, IlgpuMatrix output, ArrayView<float> bias, Activation activation, IlgpuKernelVariant kernel, float threshold)
    {
        if (!CandidatesFor(rows).Contains(kernel))
        {
            throw new ArgumentException($"{kernel.Name} does not multiply {rows} rows on {Accelerator.Device}; take one of CandidatesFor({rows}).", nameof(kernel));
        }

        bool isCuda = Accelerator.Device.Kind == IlgpuDeviceKind.Cuda;
        IlgpuGemmShape shape = new()
        {
            QuantizedAddress = isCuda ? workspace.QuantizedAddress : 0,
            WeightsAddress = isCuda ? weights.Quantized.NativePtr : 0,
            M = rows,
            N = weights.OutputFeatures,
            KWords = weights.KWords,
            ActivationStride = input.RowStride,
            OutputStride = output.RowStride,
            InputFormat = (int)input.Format,
            OutputFormat = (int)output.Format,
            OriginalFormat = (int)weights.OriginalFormat,
            OriginalStride = weights.OriginalStride,
            OriginalsCompact = weights.OriginalsCompact ? 1 : 0,
            HasBias = bias.Length > 0 ? 1 : 0,
            Activation = (int)activation,
            Threshold = threshold,
        };
        long tiles = ((rows + kernel.BlockM - 1L) / kernel.BlockM) * ((weights.OutputFeatures + kernel.BlockN - 1L) / kernel.BlockN);
        Launch(kernel, () => kernels.Gemm(kernel)(
            Accelerator.Stream,
            new KernelConfig(checked((int)tiles), kernel.Threads),
            workspace.Quantized,
            weights.Quantized.View.BaseView,
            output.Memory,
            workspace.RowSteps,
            workspace.RowZeros,
            weights.ColumnSteps.View.BaseView,
            weights.WeightSums.View.BaseView,
            bias.Length > 0 ? bias : noBias.View.BaseView,
            input.Memory.Cast<int>(),
            weights.HasFixedOutliers ? weights.FixedOutliers.View.BaseView : workspace.Outliers,
            weights.Originals.View.BaseView,
            shape));
    }

    private void Launch(IlgpuKernelVariant variant, Action launch) => IlgpuAccelerator.Guard($"Launching {variant.Name} on {Accelerator.Device}", launch);

    /// <summary>The threshold in force.</summary>
    private float Check(
        IlgpuMatrix input, int rows, IlgpuInt8Weights weights, IlgpuMatrix output, ArrayView<float> bias, Activation activation, float? threshold)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        input.ThrowIfTooSmall(nameof(input), rows, weights.InputFeatures);
        output.ThrowIfTooSmall(nameof(output), rows, weights.OutputFeatures);
        if (!ReferenceEquals(weights.Accelerator, Accelerator))
        {
            throw new ArgumentException($"'{weights.Name}' lies on another accelerator; upload it to {Accelerator.Device}.", nameof(weights));
        }

        if (weights.InputFeatures > set.Spec.MaxK)
        {
            throw new ArgumentException($"'{weights.Name}' has K = {weights.InputFeatures}; sums of more than {set.Spec.MaxK} products can overflow.", nameof(weights));
        }

        if (bias.Length > 0 && bias.Length < weights.Padded)
        {
            throw new ArgumentException($"The bias has {bias.Length} values; AllocateBias pads it to {weights.Padded}.", nameof(bias));
        }

        if (!Enum.IsDefined(activation))
        {
            throw new ArgumentOutOfRangeException(nameof(activation), activation, "Not an activation function.");
        }

        if (threshold is { } given && (!(given > 0) || !float.IsFinite(given)))
        {
            throw new ArgumentOutOfRangeException(nameof(threshold), given, "An outlier threshold is a positive, finite number.");
        }

        if (threshold is not null && set.Spec.Outliers is OutlierPolicy.None or OutlierPolicy.Fixed)
        {
            throw new ArgumentException($"An outlier threshold was given, but the policy of {set.Name} is {set.Spec.Outliers}, which has none.", nameof(threshold));
        }

        return threshold ?? set.Spec.OutlierThreshold;
    }
}
