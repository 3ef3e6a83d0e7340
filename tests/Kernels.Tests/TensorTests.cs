using System.Numerics.Tensors;
using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>Tensors as weights, activations and results: the bits of spans, or an exception that names the shape and what to do.</summary>
public sealed class TensorTests
{
    private const int M = 9, N = 21, K = 70;

    private static readonly float[] Weights = Matrices.Flatten(Matrices.Normal(new Random(1), N, K));

    private static readonly float[] Activations = Matrices.Flatten(Matrices.WithOutlierColumns(new Random(2), M, K, 3));

    [Fact]
    public void Float32_tensors_give_the_bits_of_spans() => Compare<float>();

    [Fact]
    public void Float16_tensors_give_the_bits_of_spans() => Compare<Half>();

    [Fact]
    public void BFloat16_tensors_give_the_bits_of_spans() => Compare<BFloat16>();

    [Fact]
    public void Rows_that_lie_apart_are_read_and_written_in_place()
    {
        using Int8Weights int8 = Columns.Kernels.Quantize<float>(Weights, N, K);
        float[] expected = new float[M * N];
        Columns.Kernels.MatMul<float, float>(Activations, M, int8, expected);

        float[] wide = Matrices.Flatten(Matrices.Shape(Activations, M, K), stride: K + 6), results = new float[M * (N + 4)];
        Array.Resize(ref wide, M * (K + 6));
        results.AsSpan().Fill(-1);
        ReadOnlyTensorSpan<float> a = new ReadOnlyTensorSpan<float>(wide, [M, K + 6]).Slice([0..M, 0..K]);
        TensorSpan<float> result = new TensorSpan<float>(results, [M, N + 4]).Slice([0..M, 0..N]);
        Columns.Kernels.MatMul(a, int8, result);

        for (int row = 0; row < M; row++)
        {
            Assert.Equal(expected[(row * N)..((row + 1) * N)], results[(row * (N + 4))..((row * (N + 4)) + N)]);
            Assert.All(results[((row * (N + 4)) + N)..((row + 1) * (N + 4))], gap => Assert.Equal(-1, gap));
        }
    }

    [Fact]
    public void Weights_whose_rows_lie_apart_are_quantized_as_they_are()
    {
        float[] wide = Matrices.Flatten(Matrices.Shape(Weights, N, K), stride: K + 2);
        Array.Resize(ref wide, N * (K + 2));
        using Int8Weights fromTensor = Columns.Kernels.Quantize(new ReadOnlyTensorSpan<float>(wide, [N, K + 2]).Slice([0..N, 0..K]));
        using Int8Weights fromMemory = Columns.Kernels.Quantize<float>(Weights, N, K);
        AssertSame(fromMemory, fromTensor);
    }

    [Fact]
    public void Original_outlier_weights_of_a_tensor_are_its_own_copy()
    {
        float[] source = [.. Weights];
        WeightQuantizationOptions options = new() { OutlierWeights = OutlierWeights.Original };
        using Int8Weights fromTensor = Columns.Kernels.Quantize(new ReadOnlyTensorSpan<float>(source, [N, K]), options);
        source.AsSpan().Fill(float.NaN);
        using Int8Weights fromMemory = Columns.Kernels.Quantize<float>(Weights, N, K, options);
        float[] expected = new float[M * N], result = new float[M * N];
        Columns.Kernels.MatMul<float, float>(Activations, M, fromMemory, expected);
        Columns.Kernels.MatMul<float, float>(Activations, M, fromTensor, result);
        Assert.Equal(expected, result);
    }

    [Fact]
    public void A_single_row_and_a_single_column_are_matrices()
    {
        using Int8Weights int8 = NoOutliers.Kernels.Quantize(new ReadOnlyTensorSpan<float>(new float[] { 1, -2, 3 }, [3, 1]));
        float[] result = new float[3];
        NoOutliers.Kernels.MatMul(new ReadOnlyTensorSpan<float>(new float[] { 2 }, [1, 1]), int8, new TensorSpan<float>(result, [1, 3]));
        Assert.Equal([2f, -4f, 6f], result, (x, y) => Math.Abs(x - y) < 1e-5);
    }

    [Fact]
    public void Zero_rows_do_nothing()
    {
        using Int8Weights int8 = NoOutliers.Kernels.Quantize<float>(Weights, N, K);
        float[] result = [.. Enumerable.Repeat(-1f, N)];
        NoOutliers.Kernels.MatMul(new ReadOnlyTensorSpan<float>(new float[K], [0, K]), int8, new TensorSpan<float>(result, [0, N]));
        Assert.All(result, static value => Assert.Equal(-1, value));
    }

    [Fact]
    public void A_vector_is_refused_with_its_shape_and_a_remedy()
    {
        ArgumentException exception = Refused(static int8 =>
            Columns.Kernels.MatMul(new ReadOnlyTensorSpan<float>(new float[K], [K]), int8, new TensorSpan<float>(new float[N], [1, N])));
        Assert.Equal("'a' has the shape [70], a matrix [rows, features] was expected: bring it into one with Tensor.Reshape, leading dimensions as rows. (Parameter 'a')", exception.Message);
    }

    [Fact]
    public void A_batch_of_matrices_is_refused_with_its_shape_and_a_remedy()
    {
        ArgumentException exception = Refused(static int8 =>
            Columns.Kernels.MatMul(new ReadOnlyTensorSpan<float>(new float[2 * 3 * K], [2, 3, K]), int8, new TensorSpan<float>(new float[6 * N], [6, N])));
        Assert.StartsWith("'a' has the shape [2, 3, 70], a matrix [rows, features] was expected", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_transposed_tensor_is_refused_with_its_strides_and_a_remedy()
    {
        ArgumentException exception = Refused(static int8 => Columns.Kernels.MatMul<float, float>(
            Tensor.Transpose(Tensor.Create(new float[K * M], [K, M])), int8, new TensorSpan<float>(new float[M * N], [M, N])));
        Assert.Equal(
            "'a' has the shape [9, 70] with the strides [1, 9]; the values of a row must lie side by side and rows apart: copy a transposed or broadcast tensor with Tensor.ToDenseTensor. (Parameter 'a')",
            exception.Message);
    }

    [Fact]
    public void A_broadcast_result_is_refused()
    {
        ArgumentException exception = Refused(static int8 => Columns.Kernels.MatMul(
            new ReadOnlyTensorSpan<float>(new float[M * K], [M, K]), int8, new TensorSpan<float>(new float[N], [M, N], [0, 1])));
        Assert.StartsWith("'result' has the shape [9, 21] with the strides [0, 1]", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Other_widths_than_the_weights_are_refused_with_both_shapes()
    {
        ArgumentException exception = Refused(static int8 => Columns.Kernels.MatMul(
            new ReadOnlyTensorSpan<float>(new float[M * 8], [M, 8]), int8, new TensorSpan<float>(new float[M * N], [M, N])));
        Assert.Equal("'a' has the shape [9, 8], [9, 70] was expected: 'weights' is [21, 70]. (Parameter 'a')", exception.Message);
        exception = Refused(static int8 => Columns.Kernels.MatMul(
            new ReadOnlyTensorSpan<float>(new float[M * K], [M, K]), int8, new TensorSpan<float>(new float[M * N], [N, M])));
        Assert.Equal(
            "'result' has the shape [21, 9], [9, 21] was expected: the activations have 9 rows and the weights 21 output features. (Parameter 'result')", exception.Message);
    }

    [Fact]
    public void Row_strides_beside_tensors_are_refused()
    {
        ArgumentException exception = Refused(static int8 => Columns.Kernels.MatMul(
            new ReadOnlyTensorSpan<float>(new float[M * K], [M, K]), int8, new TensorSpan<float>(new float[M * N], [M, N]), options: new MatMulOptions { InputRowStride = K }));
        Assert.StartsWith("A tensor has its own strides", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Empty_weights_are_refused()
    {
        ArgumentException exception = Assert.Throws<ArgumentException>(static () => Columns.Kernels.Quantize(new ReadOnlyTensorSpan<float>(new float[K], [0, K])));
        Assert.StartsWith("'weights' has the shape [0, 70]: there is nothing to quantize.", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Doubles_are_refused_by_name()
    {
        NotSupportedException exception = Assert.Throws<NotSupportedException>(static () => Columns.Kernels.Quantize(new ReadOnlyTensorSpan<double>(new double[K], [1, K])));
        Assert.Contains("System.Double", exception.Message, StringComparison.Ordinal);
    }

    private static ArgumentException Refused(Action<Int8Weights> multiply)
    {
        using Int8Weights int8 = Columns.Kernels.Quantize<float>(Weights, N, K);
        return Assert.Throws<ArgumentException>(() => multiply(int8));
    }

    private static void Compare<T>()
        where T : unmanaged
    {
        T[] weights = Matrices.Convert<T>(Weights), activations = Matrices.Convert<T>(Activations), expected = new T[M * N], result = new T[M * N];
        float[] bias = [.. Enumerable.Range(0, N).Select(static i => i / 8f)];
        MatMulOptions options = new() { Activation = Activation.Gelu };
        using Int8Weights fromMemory = Columns.Kernels.Quantize<T>(weights, N, K);
        using Int8Weights fromTensor = Columns.Kernels.Quantize(new ReadOnlyTensorSpan<T>(weights, [N, K]));
        AssertSame(fromMemory, fromTensor);
        Columns.Kernels.MatMul<T, T>(activations, M, fromMemory, expected, bias, options);
        Columns.Kernels.MatMul(new ReadOnlyTensorSpan<T>(activations, [M, K]), fromTensor, new TensorSpan<T>(result, [M, N]), bias, options);
        Assert.Equal(Matrices.Widen(expected), Matrices.Widen(result));
        Assert.Contains(Matrices.Widen(result), static value => value != 0);
    }

    private static void AssertSame(Int8Weights expected, Int8Weights actual)
    {
        Assert.Equal(expected.Absmax.ToArray(), actual.Absmax.ToArray());
        sbyte[] one = new sbyte[K], other = new sbyte[K];
        for (int row = 0; row < N; row++)
        {
            expected.CopyQuantizedRow(row, one);
            actual.CopyQuantizedRow(row, other);
            Assert.Equal(one, other);
        }
    }
}
