using KernelGen.Backends.Cpu;
using KernelGen.Backends.Cuda;
using KernelGen.Backends.Ilgpu;
using KernelGen.Kernels;
using KernelGen.MatMul;
using KernelGen.Observability;
using KernelGen.Quantization;
using KernelGen.Tuning;

namespace KernelGen;

/// <summary>
/// The kernels that were generated for one <see cref="Int8KernelAttribute"/> class: quantizes weights once, multiplies activations with them
/// many times.
/// </summary>
/// <remarks>
/// Thread-safe: any number of threads may quantize and multiply at once, also with the same weights. Calls share the library's worker threads; one
/// that finds them busy works on its own thread alone. What a call reads and writes, activations and results, must not be changed or used by others
/// meanwhile.
/// </remarks>
public sealed partial class Int8KernelSet
{
    /// <summary>Of the pairs of neighbouring weights; beyond, multiplying what packing took away costs more than bytes gain.</summary>
    internal const double MostReducedPairs = 0.06;

    /// <summary>Called by generated code.</summary>
    /// <param name="name">The annotated class.</param>
    /// <param name="spec">What its attribute asks for.</param>
    /// <param name="cpu">The generated CPU kernels, portable scalar ones among them.</param>
    /// <param name="dropped">The combinations that did not become variants.</param>
    /// <param name="generator">The generator's version, with a hash of the CPU code that it wrote.</param>
    /// <param name="cuda">The generated CUDA kernels; null where the class has none.</param>
    /// <param name="ilgpu">The generated ILGPU kernels; null where the class has none.</param>
    /// <exception cref="ArgumentException">There is no kernel that this processor can run.</exception>
    [System.ComponentModel.EditorBrowsable(System.ComponentModel.EditorBrowsableState.Never)]
    public Int8KernelSet(
        string name,
        Int8Spec spec,
        IReadOnlyList<CpuKernelFamily> cpu,
        IReadOnlyList<DroppedVariant> dropped,
        string generator,
        IReadOnlyList<CudaKernelVariant>? cuda = null,
        IReadOnlyList<IlgpuKernelVariant>? ilgpu = null)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(cpu);
        ArgumentNullException.ThrowIfNull(dropped);
        ArgumentNullException.ThrowIfNull(generator);
        Name = name;
        Generator = generator;
        Spec = spec;
        CpuFamilies = cpu;
        CudaVariants = cuda ?? [];
        IlgpuVariants = ilgpu ?? [];
        Dropped = dropped;
        Variants = [.. cpu.SelectMany(family => family.Variants.Select(variant => new KernelVariant(
            variant.Name, KernelTargets.Cpu, CpuFeatures.Describe(family.InstructionSet), CpuFeatures.Supports(family.InstructionSet))))];
        CpuKernelFamily[] families = [.. cpu
            .Where(family => CpuFeatures.Supports(family.InstructionSet))
            .OrderBy(family => CpuFeatures.Rank(family.InstructionSet))
            .ThenByDescending(family => family.Variants.Max(variant => RegisterReuse(variant.Tile)))];
        Preferred = families.FirstOrDefault() ?? throw new ArgumentException($"{name} has no kernel for this processor, not even a portable one.", nameof(cpu));
        ForAnyWeights = families.FirstOrDefault(family => family.PairLimit == 0) ?? Preferred;
        for (int i = 0; i < cpu.Count; i++)
        {
            cpu[i].Index = i;
        }

        Cpu = new CpuDispatch(this);
    }

    /// <summary>The annotated class.</summary>
    public string Name { get; }

    /// <summary>What its attribute asks for.</summary>
    public Int8Spec Spec { get; }

    /// <summary>The manifest: every generated variant with its needs.</summary>
    public IReadOnlyList<KernelVariant> Variants { get; }

    /// <summary>The combinations of the spec's tile lists that did not become variants, each with its reason.</summary>
    public IReadOnlyList<DroppedVariant> Dropped { get; }

    /// <summary>The generated CUDA kernels; empty unless the class asks for <see cref="KernelTargets.Cuda"/>.</summary>
    public IReadOnlyList<CudaKernelVariant> CudaVariants { get; }

    /// <summary>
    /// The generated ILGPU kernels; empty unless the class asks for <see cref="KernelTargets.Ilgpu"/> in a project that references ILGPU.
    /// </summary>
    public IReadOnlyList<IlgpuKernelVariant> IlgpuVariants { get; }

    internal IReadOnlyList<CpuKernelFamily> CpuFamilies { get; }

    /// <summary>The generator's version, with a hash of the CPU code that it wrote.</summary>
    internal string Generator { get; }

    /// <summary>What the tuning records say for this processor.</summary>
    internal CpuDispatch Cpu { get; }

    /// <summary>The family that weights are packed for on this processor where nothing was tuned.</summary>
    internal CpuKernelFamily Preferred { get; }

    /// <summary>Likewise, for weights of which <see cref="Preferred"/> would have to reduce too many.</summary>
    internal CpuKernelFamily ForAnyWeights { get; }

    /// <summary>Quantizes and packs weights.</summary>
    /// <typeparam name="T">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="weights">N * K values, a contiguous row per output feature. Kept only where the options ask for original outlier weights.</param>
    /// <param name="outputFeatures">N.</param>
    /// <param name="inputFeatures">K.</param>
    /// <param name="options">How to quantize.</param>
    /// <param name="cancellation">Ends it between two panels of rows.</param>
    /// <returns>The quantized weights; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">
    /// N or K is not positive, the size is not N * K, a weight is not finite (the message names row and column), K is too long for 32-bit sums, or a fixed outlier set
    /// is missing or invalid.
    /// </exception>
    /// <exception cref="NotSupportedException">T is not a supported element type.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public Int8Weights Quantize<T>(
        ReadOnlyMemory<T> weights,
        int outputFeatures,
        int inputFeatures,
        WeightQuantizationOptions? options = null,
        CancellationToken cancellation = default)
        where T : unmanaged
    {
        // Here, by the caller's names.
        Elements.ThrowIfUnsupported<T>();
        ArgumentOutOfRangeException.ThrowIfLessThan(outputFeatures, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(inputFeatures, 1);
        return weights.Length == (long)outputFeatures * inputFeatures
            ? Quantize(new MemoryWeightSource<T>(weights, outputFeatures, inputFeatures), options, cancellation)
            : throw new ArgumentException(
                $"'{nameof(weights)}' has {weights.Length} values; [{outputFeatures},{inputFeatures}] needs {(long)outputFeatures * inputFeatures}.", nameof(weights));
    }

    /// <summary>Quantizes and packs the weights of a source.</summary>
    /// <param name="source">The weights. Read again later only where the options ask for original outlier weights.</param>
    /// <param name="options">How to quantize.</param>
    /// <param name="cancellation">Ends it between two panels of rows.</param>
    /// <returns>The quantized weights; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">A weight is not finite (the message names source, row and column), K is too long, or a fixed outlier set is missing or invalid.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public Int8Weights Quantize(WeightSource source, WeightQuantizationOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        long start = MatMulInstruments.StartQuantization();
        Int8Weights weights = Quantize(
            source, options, Cpu.Family(source.Rows, source.Columns, static family => CpuFeatures.Supports(family.InstructionSet), Preferred), cancellation);
        if (weights.ReducedPairs > MostReducedPairs)
        {
            weights.Dispose();
            weights = Quantize(
                source,
                options,
                Cpu.Family(
                    source.Rows, source.Columns, static family => family.PairLimit == 0 && CpuFeatures.Supports(family.InstructionSet), ForAnyWeights),
                cancellation);
        }

        MatMulInstruments.StopQuantization(start, this, weights);
        return weights;
    }

    /// <summary>Multiplies: <c>result[m,n] = activation(sum over k of a[m,k] * w[n,k] + bias[n])</c>, by LLM.int8().</summary>
    /// <typeparam name="TInput">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <typeparam name="TOutput">float, <see cref="Half"/> or <see cref="BFloat16"/>; results are rounded to it once.</typeparam>
    /// <param name="a">Activations, [rows, K].</param>
    /// <param name="rows">M; zero rows do nothing.</param>
    /// <param name="weights">What this set quantized.</param>
    /// <param name="result">Results, [rows, N], overwritten.</param>
    /// <param name="bias">N values, or empty for none.</param>
    /// <param name="options">Row strides, activation function, threads; null for the defaults.</param>
    /// <exception cref="ArgumentException">A span is too short, or the weights belong to another kernel set.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="NotSupportedException">An element type is not supported.</exception>
    /// <exception cref="ObjectDisposedException">The weights are disposed. Weights that are disposed while a multiplication runs serve it to its end.</exception>
    /// <remarks>
    /// A NaN or an infinity in a row of <paramref name="a"/> makes that row's results NaN and touches no other row. The same inputs give the
    /// same bits, whatever the number of threads; with <see cref="OutlierPolicy.Elements"/> and a scale per row, whatever the other rows.
    /// </remarks>
    public void MatMul<TInput, TOutput>(
        ReadOnlySpan<TInput> a, int rows, Int8Weights weights, Span<TOutput> result, ReadOnlySpan<float> bias = default, MatMulOptions? options = null)
        where TInput : unmanaged
        where TOutput : unmanaged => Multiply(a, rows, weights, result, bias, options, null);

    /// <summary>The public method, cut as a schedule says; null for what was tuned.</summary>
    internal unsafe void Multiply<TInput, TOutput>(
        ReadOnlySpan<TInput> a,
        int rows,
        Int8Weights weights,
        Span<TOutput> result,
        ReadOnlySpan<float> bias,
        MatMulOptions? options,
        CpuSchedule? schedule)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        ArgumentNullException.ThrowIfNull(weights);
        options ??= MatMulOptions.Default;
        int k = weights.InputFeatures, n = weights.OutputFeatures;
        int inputStride = options.InputRowStride ?? k, outputStride = options.OutputRowStride ?? n;
        MatrixArguments.Check(nameof(a), a.Length, rows, k, inputStride);
        MatrixArguments.Check(nameof(result), result.Length, rows, n, outputStride);
        fixed (TInput* input = a)
        {
            fixed (TOutput* output = result)
            {
                Multiply(new ActivationMatrix<TInput>(input, rows, k, inputStride), weights, output, outputStride, bias, options, schedule);
            }
        }
    }

    /// <summary>Multiplies matrices in memory that is pinned.</summary>
    private unsafe void Multiply<TInput, TOutput>(
        ActivationMatrix<TInput> a,
        Int8Weights weights,
        TOutput* result,
        nint resultStride,
        ReadOnlySpan<float> bias,
        MatMulOptions options,
        CpuSchedule? schedule)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        Elements.ThrowIfUnsupported<TInput>();
        Elements.ThrowIfUnsupported<TOutput>();
        if (!CpuFamilies.Contains(weights.Family))
        {
            throw new ArgumentException($"'{weights.Name}' was quantized by another kernel set; quantize it with {Name}.Kernels.", nameof(weights));
        }

        MatrixArguments.CheckBias(bias, weights.OutputFeatures);
        MatrixArguments.CheckOptions(options, Spec, Name);
        using Int8Weights.Usage usage = weights.Use();
        if (a.Rows == 0)
        {
            return;
        }

        long start = MatMulInstruments.StartMultiplication();
        schedule ??= Cpu.Schedule(weights.Family, a.Rows, weights.OutputFeatures, weights.InputFeatures);
        fixed (float* addend = bias)
        {
            int outlierColumns = new Int8MatMul(Spec, weights.Family, schedule).Multiply(a, weights, addend, result, resultStride, options);
            MatMulInstruments.StopMultiplication(start, this, weights.Family, a.Rows, outlierColumns);
        }
    }

    /// <summary>Quantizes for one family of kernels, whether or not it is the one this processor prefers.</summary>
    internal Int8Weights Quantize(
        WeightSource source, WeightQuantizationOptions? options, CpuKernelFamily family, CancellationToken cancellation = default)
    {
        options ??= new WeightQuantizationOptions();
        _ = CpuParallel.Degree(options.MaxDegreeOfParallelism);
        return Int8Weights.Quantize(Spec, family, source, options, cancellation);
    }

    /// <summary>Products per loaded value: how well a tile reuses registers.</summary>
    private static double RegisterReuse(CpuTile tile) => (double)tile.M * tile.N / (tile.M + tile.N);
}
