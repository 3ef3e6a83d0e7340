using System.Numerics.Tensors;
using KernelGen.MatMul;
using KernelGen.Quantization;

namespace KernelGen;

/// <content>Tensors as weights, activations and results.</content>
public sealed partial class Int8KernelSet
{
    /// <summary>Quantizes and packs the weights of a tensor.</summary>
    /// <typeparam name="T">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="weights">[N, K], a row per output feature; the values of a row lie side by side, rows may lie apart. Copied only where the options ask for original outlier weights.</param>
    /// <param name="options">How to quantize.</param>
    /// <param name="cancellation">Ends it between two panels of rows.</param>
    /// <returns>The quantized weights; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">
    /// The tensor is no matrix, is empty, or its rows are not contiguous (the message has its shape and what to do); a weight is not finite (the message
    /// names row and column), K is too long for 32-bit sums, or a fixed outlier set is missing or invalid.
    /// </exception>
    /// <exception cref="NotSupportedException">T is not a supported element type.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public unsafe Int8Weights Quantize<T>(
        in ReadOnlyTensorSpan<T> weights, WeightQuantizationOptions? options = null, CancellationToken cancellation = default)
        where T : unmanaged
    {
        Elements.ThrowIfUnsupported<T>();
        TensorMatrix shape = TensorMatrix.Of(weights, nameof(weights));
        if (shape.Rows == 0 || shape.Columns == 0)
        {
            throw new ArgumentException($"'{nameof(weights)}' has the shape [{shape.Rows}, {shape.Columns}]: there is nothing to quantize.", nameof(weights));
        }

        fixed (T* values = weights)
        {
            PinnedWeightSource<T> source = new(values, shape);
            return options?.OutlierWeights == OutlierWeights.Original
                ? Quantize(source.Copy(), options, cancellation)
                : Quantize(source, options, cancellation);
        }
    }

    /// <summary>
    /// Multiplies tensors; as <see cref="MatMul{TInput, TOutput}(ReadOnlySpan{TInput}, int, Int8Weights, Span{TOutput}, ReadOnlySpan{float}, MatMulOptions?)"/>,
    /// with the shapes and row strides that the tensors have.
    /// </summary>
    /// <typeparam name="TInput">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <typeparam name="TOutput">float, <see cref="Half"/> or <see cref="BFloat16"/>; results are rounded to it once.</typeparam>
    /// <param name="a">Activations, [M, K]; the values of a row lie side by side, rows may lie apart.</param>
    /// <param name="weights">What this set quantized.</param>
    /// <param name="result">Results, [M, N], likewise; overwritten.</param>
    /// <param name="bias">N values, or empty for none.</param>
    /// <param name="options">Activation function, threads; null for the defaults. No row strides.</param>
    /// <exception cref="ArgumentException">
    /// A tensor is no matrix, has another shape than the weights and the other tensor ask for, or its rows are not contiguous: the message has its
    /// shape and what to do. Or the options have row strides, or the weights belong to another kernel set.
    /// </exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="NotSupportedException">An element type is not supported.</exception>
    /// <exception cref="ObjectDisposedException">The weights are disposed.</exception>
    public unsafe void MatMul<TInput, TOutput>(
        in ReadOnlyTensorSpan<TInput> a,
        Int8Weights weights,
        in TensorSpan<TOutput> result,
        ReadOnlySpan<float> bias = default,
        MatMulOptions? options = null)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        ArgumentNullException.ThrowIfNull(weights);
        options ??= MatMulOptions.Default;
        if (options.InputRowStride is not null || options.OutputRowStride is not null)
        {
            throw new ArgumentException("A tensor has its own strides: leave the options' row strides out.", nameof(options));
        }

        TensorMatrix input = TensorMatrix.Of(a, nameof(a)), output = TensorMatrix.Of<TOutput>(result, nameof(result));
        input.Require(nameof(a), input.Rows, weights.InputFeatures, $"'{weights.Name}' is [{weights.OutputFeatures}, {weights.InputFeatures}]");
        output.Require(nameof(result), input.Rows, weights.OutputFeatures, $"the activations have {input.Rows} rows and the weights {weights.OutputFeatures} output features");
        fixed (TInput* activations = a)
        {
            fixed (TOutput* results = result)
            {
                Multiply(
                    new ActivationMatrix<TInput>(activations, input.Rows, input.Columns, input.RowStride), weights, results, output.RowStride, bias, options, null);
            }
        }
    }
}
