using KernelGen.Backends.Cuda;
using KernelGen.MatMul;
using KernelGen.Observability;
using KernelGen.Quantization;

namespace KernelGen;

/// <summary>The kernels of an <see cref="Int8KernelAttribute"/> class on a GPU: multiplies matrices in host memory by LLM.int8().</summary>
/// <remarks>
/// Thread-safe: any thread may call any member at any time. As many multiplications run side by side as the constructor was told, each on a stream of
/// its own; further ones wait. Kernels are compiled by the driver when they are first needed, which takes a moment.
/// </remarks>
public sealed class CudaMatMul : IDisposable
{
    private readonly CudaContext _context;
    private readonly CudaInt8MatMul _matMul;
    private readonly CudaLanes _lanes;

    /// <summary>Opens a GPU.</summary>
    /// <param name="device">One of <see cref="CudaDevice.All"/>.</param>
    /// <param name="kernels">The kernels; the class's <see cref="Int8KernelAttribute.Targets"/> has <see cref="KernelTargets.Cuda"/>.</param>
    /// <param name="outlierThreshold">The outlier threshold, positive and finite; null for the spec's. Refused where the policy has none.</param>
    /// <param name="concurrency">Multiplications that may run side by side, at least 1; each takes host and device memory for its matrices.</param>
    /// <exception cref="ArgumentException">The class has no CUDA kernels, or a threshold was given and the policy has none.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The threshold or the concurrency is out of range.</exception>
    /// <exception cref="NotSupportedException">No kernel runs on the device; the message says why.</exception>
    /// <exception cref="CudaException">The device cannot be used.</exception>
    public CudaMatMul(CudaDevice device, Int8KernelSet kernels, float? outlierThreshold = null, int concurrency = 2)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(kernels);
        ArgumentOutOfRangeException.ThrowIfLessThan(concurrency, 1);
        MatrixArguments.CheckOptions(new MatMulOptions { OutlierThreshold = outlierThreshold }, kernels.Spec, kernels.Name);
        RequireKernels(device, kernels);
        Kernels = kernels;
        _context = new CudaContext(device);
        _matMul = new CudaInt8MatMul(_context, kernels.Spec with { OutlierThreshold = outlierThreshold ?? kernels.Spec.OutlierThreshold }, kernels.CudaVariants);
        _lanes = new CudaLanes(_context, concurrency);
    }

    /// <summary>The GPU.</summary>
    public CudaDevice Device => _context.Device;

    /// <summary>The kernels.</summary>
    public Int8KernelSet Kernels { get; }

    /// <summary>Copies weights to the GPU. The weights of outlier columns are dequantized there, but for those of a fixed set, whose originals go along.</summary>
    /// <param name="weights">What <see cref="Kernels"/> quantized.</param>
    /// <returns>The weights there; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">Other kernels quantized them, or K is too long for 32-bit sums, which is all that a GPU has.</exception>
    /// <exception cref="ObjectDisposedException">The weights or this object are disposed.</exception>
    /// <exception cref="CudaException">The device is out of memory or fails.</exception>
    public CudaWeights Upload(Int8Weights weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        if (!Kernels.CpuFamilies.Contains(weights.Family))
        {
            throw new ArgumentException($"'{weights.Name}' was quantized by another kernel set; quantize it with {Kernels.Name}.Kernels.", nameof(weights));
        }

        int longest = KernelLimits.MaxK(Kernels.Spec.Activations);
        if (weights.InputFeatures > longest)
        {
            throw new ArgumentException($"'{weights.Name}' has K = {weights.InputFeatures}; sums of more than {longest} products can overflow on a GPU. Split the matrix along K.", nameof(weights));
        }

        using Int8Weights.Usage usage = weights.Use();
        CudaLane lane = _lanes.Take(CancellationToken.None);
        CudaContext? context = null;
        try
        {
            // Weights may outlive this object: the device's memory is theirs as long as they hold a context.
            context = new CudaContext(Device);
            return new CudaWeights(Kernels, context, CudaInt8Weights.Upload(weights, context, lane.Stream), weights.Name);
        }
        catch
        {
            context?.Dispose();
            throw;
        }
        finally
        {
            _lanes.Return(lane);
        }
    }

    /// <summary>Multiplies: <c>result[m,n] = activation(sum over k of a[m,k] * w[n,k] + bias[n])</c>, without a thread that waits.</summary>
    /// <typeparam name="TInput">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <typeparam name="TOutput">float, <see cref="Half"/> or <see cref="BFloat16"/>; results are rounded to it once.</typeparam>
    /// <param name="a">Activations, [rows, K]; must stay as they are until the task completes.</param>
    /// <param name="rows">M; zero rows do nothing.</param>
    /// <param name="weights">What <see cref="Upload"/> returned.</param>
    /// <param name="result">Results, [rows, N], overwritten; written just before the task completes.</param>
    /// <param name="bias">N values, or empty for none.</param>
    /// <param name="options">Row strides and activation function; null for the defaults. The threshold is the constructor's, threads are the GPU's.</param>
    /// <param name="cancellation">
    /// Ends the waiting for a free stream. What is queued on the GPU cannot be taken back: from then on the multiplication runs to its end, and the
    /// task completes with it.
    /// </param>
    /// <returns>Completes when the stream has done the work and the results are written.</returns>
    /// <exception cref="ArgumentException">Memory is too short, the options have a threshold, or the weights are of other kernels or on another GPU; thrown at once.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range; thrown at once.</exception>
    /// <exception cref="NotSupportedException">An element type is not supported; thrown at once.</exception>
    /// <exception cref="ObjectDisposedException">The weights or this object are disposed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled before it was queued; the results are untouched.</exception>
    /// <exception cref="CudaException">The device is out of memory or failed; the results are not written.</exception>
    public Task MatMulAsync<TInput, TOutput>(
        ReadOnlyMemory<TInput> a,
        int rows,
        CudaWeights weights,
        Memory<TOutput> result,
        ReadOnlyMemory<float> bias = default,
        MatMulOptions? options = null,
        CancellationToken cancellation = default)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        options ??= MatMulOptions.Default;
        Check<TInput, TOutput>(a.Length, rows, weights, result.Length, bias.Span, options);
        return cancellation.IsCancellationRequested ? Task.FromCanceled(cancellation) : RunAsync(a, rows, weights, result, bias, options, cancellation);
    }

    /// <summary>As <see cref="MatMulAsync"/>, on this thread, which waits.</summary>
    /// <inheritdoc cref="MatMulAsync"/>
    public void MatMul<TInput, TOutput>(
        ReadOnlySpan<TInput> a,
        int rows,
        CudaWeights weights,
        Span<TOutput> result,
        ReadOnlySpan<float> bias = default,
        MatMulOptions? options = null,
        CancellationToken cancellation = default)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        options ??= MatMulOptions.Default;
        Check<TInput, TOutput>(a.Length, rows, weights, result.Length, bias, options);
        long start = CudaInstruments.StartMultiplication();
        weights.Hold();
        try
        {
            CudaLane lane = _lanes.Take(cancellation);
            try
            {
                if (rows > 0)
                {
                    Queue<TInput, TOutput>(lane, a, rows, weights, bias, options).GetAwaiter().GetResult();
                    lane.Read(rows, weights.OutputFeatures, result, options.OutputRowStride ?? weights.OutputFeatures);
                }
            }
            catch
            {
                lane.Recover();
                throw;
            }
            finally
            {
                _lanes.Return(lane);
            }
        }
        finally
        {
            weights.Release();
        }

        CudaInstruments.StopMultiplication(start, Device, Kernels.Name);
    }

    /// <summary>Waits for the multiplications that run, and frees the GPU. Weights that were uploaded stay, and are their owners' to dispose.</summary>
    public void Dispose()
    {
        _lanes.Dispose();
        _matMul.Dispose();
        _context.Dispose();
    }

    private async Task RunAsync<TInput, TOutput>(
        ReadOnlyMemory<TInput> a,
        int rows,
        CudaWeights weights,
        Memory<TOutput> result,
        ReadOnlyMemory<float> bias,
        MatMulOptions options,
        CancellationToken cancellation)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        long start = CudaInstruments.StartMultiplication();
        weights.Hold();
        try
        {
            CudaLane lane = await _lanes.TakeAsync(cancellation).ConfigureAwait(false);
            try
            {
                if (rows > 0)
                {
                    await Queue<TInput, TOutput>(lane, a.Span, rows, weights, bias.Span, options).ConfigureAwait(false);
                    lane.Read(rows, weights.OutputFeatures, result.Span, options.OutputRowStride ?? weights.OutputFeatures);
                }
            }
            catch
            {
                lane.Recover();
                throw;
            }
            finally
            {
                _lanes.Return(lane);
            }
        }
        finally
        {
            weights.Release();
        }

        CudaInstruments.StopMultiplication(start, Device, Kernels.Name);
    }

    private Task Queue<TInput, TOutput>(
        CudaLane lane, ReadOnlySpan<TInput> a, int rows, CudaWeights weights, ReadOnlySpan<float> bias, MatMulOptions options)
        where TInput : unmanaged
        where TOutput : unmanaged =>
        lane.Queue<TInput, TOutput>(_matMul, a, rows, options.InputRowStride ?? weights.InputFeatures, weights.Matrix, bias, options.Activation);

    private void Check<TInput, TOutput>(int length, int rows, CudaWeights weights, int resultLength, ReadOnlySpan<float> bias, MatMulOptions options)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        ArgumentNullException.ThrowIfNull(weights);
        Elements.ThrowIfUnsupported<TInput>();
        Elements.ThrowIfUnsupported<TOutput>();
        if (weights.Kernels != Kernels || weights.Device.Uuid != Device.Uuid)
        {
            throw new ArgumentException(
                $"'{weights.Name}' are weights of {weights.Kernels.Name} on {weights.Device}; this multiplies for {Kernels.Name} on {Device}: upload them here.", nameof(weights));
        }

        if (options.OutlierThreshold is not null)
        {
            throw new ArgumentException("On a GPU the outlier threshold is the constructor's: give it there.", nameof(options));
        }

        int k = weights.InputFeatures, n = weights.OutputFeatures;
        MatrixArguments.Check("a", length, rows, k, options.InputRowStride ?? k);
        MatrixArguments.Check("result", resultLength, rows, n, options.OutputRowStride ?? n);
        MatrixArguments.CheckBias(bias, n);
        MatrixArguments.CheckOptions(options, Kernels.Spec, Kernels.Name);
    }

    private static void RequireKernels(CudaDevice device, Int8KernelSet kernels)
    {
        CudaKernelVariant[] multiply = [.. kernels.CudaVariants.Where(static variant => variant.IsGemm)];
        if (multiply.Length == 0)
        {
            throw new ArgumentException($"{kernels.Name} has no CUDA kernels: set Targets = KernelTargets.All in its attribute.", nameof(kernels));
        }

        if (Array.TrueForAll(multiply, variant => variant.Reject(device) is not null))
        {
            throw new NotSupportedException($"No kernel of {kernels.Name} runs on {device}: {multiply.MinBy(static variant => variant.Capability)!.Reject(device)}.");
        }
    }
}
