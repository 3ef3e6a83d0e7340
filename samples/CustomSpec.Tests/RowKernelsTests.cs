using KernelGen.Reference;
using Xunit;

namespace CustomSpec.Tests;

/// <summary>What the kernels compute.</summary>
public sealed class RowKernelsTests
{
    private const int Rows = 7, OutputFeatures = 33, InputFeatures = 96;

    private static readonly float[] Weights = Values(OutputFeatures * InputFeatures, seed: 1);

    private static readonly float[] Bias = Values(OutputFeatures, seed: 2);

    private static readonly float[] Input = [.. Values(Rows * InputFeatures, seed: 3).Select(static (x, i) => i % 41 == 0 ? 20 * x : x)];

    [Fact]
    public void A_layer_agrees_with_the_definition()
    {
        using QuantizedLayer layer = new(Weights, Bias, InputFeatures);
        float[] result = layer.Forward(Input, Rows);
        float[,] defined = ReferenceMatMul.MatMul(RowKernels.Kernels.Spec, Matrix(Input, Rows), Matrix(Weights, OutputFeatures));
        for (int i = 0; i < result.Length; i++)
        {
            float expected = Math.Max(0, defined[i / OutputFeatures, i % OutputFeatures] + Bias[i % OutputFeatures]);
            Assert.Equal(expected, result[i], tolerance: 1e-4f * (1 + Math.Abs(expected)));
        }

        Assert.Contains(result, static x => x > 0);
    }

    [Fact]
    public void A_row_has_the_same_bits_alone_and_in_a_batch()
    {
        using QuantizedLayer layer = new(Weights, Bias, InputFeatures);
        float[] batch = layer.Forward(Input, Rows);
        for (int row = 0; row < Rows; row++)
        {
            Assert.Equal(batch[(row * OutputFeatures)..((row + 1) * OutputFeatures)], layer.Forward(Input.AsSpan(row * InputFeatures, InputFeatures), 1));
        }
    }

    private static float[] Values(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];
    }

    private static float[,] Matrix(float[] values, int rows)
    {
        float[,] matrix = new float[rows, values.Length / rows];
        Buffer.BlockCopy(values, 0, matrix, 0, values.Length * sizeof(float));
        return matrix;
    }
}
