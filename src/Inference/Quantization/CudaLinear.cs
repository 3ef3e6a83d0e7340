using KernelGen.Backends.Cuda;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Quantization;

/// <summary>
/// A linear layer that generated int8 kernels multiply on a GPU. The activations come from the host's memory and the results go back there.
/// </summary>
public sealed class CudaLinear : LinearLayer
{
    private readonly CudaAccelerator _accelerator;
    private readonly CudaInt8MatMul _kernels;
    private readonly CudaInt8Weights _weights;
    private readonly CudaBuffer? _bias;

    private CudaLinear(CudaAccelerator accelerator, CudaInt8MatMul kernels, CudaInt8Weights weights, CudaBuffer? bias)
        : base(weights.InputFeatures, weights.OutputFeatures)
    {
        _accelerator = accelerator;
        _kernels = kernels;
        _weights = weights;
        _bias = bias;
    }

    /// <inheritdoc/>
    public override long Bytes => _weights.Bytes + (_bias?.Bytes ?? 0);

    /// <summary>A factory of such layers.</summary>
    /// <param name="accelerator">The GPU; it must outlive the layers.</param>
    /// <param name="kernels">The kernels of an <see cref="Int8KernelAttribute"/> class whose targets include CUDA.</param>
    /// <param name="outlierWeights">
    /// Where the weights of outlier columns come from. The device finds the columns without asking the host, so the originals of all columns
    /// lie in its memory.
    /// </param>
    /// <param name="outlierThreshold">The outlier threshold; null for the kernels' own.</param>
    /// <exception cref="ArgumentException">The kernels were not generated for CUDA.</exception>
    /// <returns>
    /// The factory; it throws a <see cref="CheckpointException"/> where a weight is infinite or NaN, and a <see cref="CudaException"/> where the
    /// device's memory does not suffice.
    /// </returns>
    public static LinearLayerFactory Factory(
        CudaAccelerator accelerator, Int8KernelSet kernels, OutlierWeights outlierWeights, float? outlierThreshold = null)
    {
        ArgumentNullException.ThrowIfNull(accelerator);
        ArgumentNullException.ThrowIfNull(kernels);
        if (kernels.CudaVariants.Count == 0)
        {
            throw new ArgumentException($"{kernels.Name} has no CUDA kernels; set Targets = KernelTargets.All on the class.", nameof(kernels));
        }

        bool originals = outlierWeights == OutlierWeights.Original && kernels.Spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements;
        return source =>
        {
            WeightSource matrix = MappedWeightSource.Of(source);
            using Int8Weights quantized = UnquantizableWeights.Named(source, () => kernels.Quantize(matrix));
            CudaInt8Weights weights = CudaInt8Weights.Upload(quantized, accelerator.Context, accelerator.Stream);
            CudaBuffer? bias = null;
            try
            {
                if (originals && source.Int8 is null)
                {
                    UploadOriginals(accelerator, weights, matrix);
                }

                if (source.Bias is not null)
                {
                    float[] padded = new float[weights.Padded];
                    source.Bias.CopyTo(padded, 0);
                    bias = new CudaBuffer(accelerator.Context, padded.Length * sizeof(float));
                    bias.Upload<float>(padded, accelerator.Stream);
                    accelerator.Stream.Synchronize();
                }

                return new CudaLinear(accelerator, accelerator.KernelsOf(kernels, outlierThreshold), weights, bias);
            }
            catch
            {
                weights.Dispose();
                bias?.Dispose();
                throw;
            }
        };
    }

    /// <inheritdoc/>
    public override void Forward(ReadOnlySpan<float> input, int rows, Span<float> output) =>
        _accelerator.Multiply(
            _kernels, _weights, _bias, input[..checked(rows * InputFeatures)], rows, output[..checked(rows * OutputFeatures)]);

    /// <inheritdoc/>
    public override void Dispose()
    {
        _weights.Dispose();
        _bias?.Dispose();
    }

    private static void UploadOriginals(CudaAccelerator accelerator, CudaInt8Weights weights, WeightSource source)
    {
        (ElementFormat format, int size) = source.ElementType == typeof(Half) ? (ElementFormat.Float16, 2)
            : source.ElementType == typeof(BFloat16) ? (ElementFormat.BFloat16, 2) : (ElementFormat.Float32, 4);
        CudaBuffer buffer = new(accelerator.Context, (long)source.Rows * source.Columns * size);
        weights.UseOriginals(buffer, format, source.Columns);
        float[] row = new float[source.Columns];
        byte[] bytes = new byte[source.Columns * size];
        for (int n = 0; n < source.Rows; n++)
        {
            source.ReadRow(n, row);
            switch (format)
            {
                case ElementFormat.Float16:
                    KernelGen.Quantization.Elements.FromSingle(row, System.Runtime.InteropServices.MemoryMarshal.Cast<byte, Half>(bytes.AsSpan()));
                    break;
                case ElementFormat.BFloat16:
                    KernelGen.Quantization.Elements.FromSingle(row, System.Runtime.InteropServices.MemoryMarshal.Cast<byte, BFloat16>(bytes.AsSpan()));
                    break;
                default:
                    KernelGen.Quantization.Elements.FromSingle(row, System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(bytes.AsSpan()));
                    break;
            }

            buffer.Upload<byte>(bytes, accelerator.Stream, (long)n * bytes.Length);
        }

        accelerator.Stream.Synchronize();
    }
}
