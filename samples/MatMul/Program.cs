// The least that it takes: an annotated class, weights quantized once, activations multiplied as tensors.
using System.Numerics.Tensors;
using KernelGen;

const int Rows = 4, OutputFeatures = 256, InputFeatures = 512;

// Activations as layers of large models have them: small values, and one column that is large in every row.
Random random = new(1);
float[] weights = [.. Enumerable.Range(0, OutputFeatures * InputFeatures).Select(_ => random.NextSingle() - 0.5f)];
float[] activations = [.. Enumerable.Range(0, Rows * InputFeatures).Select(i => i % InputFeatures == 7 ? 40 : random.NextSingle() - 0.5f)];
float[] exact = Exact();

Console.WriteLine($"float32 weights: {weights.Length * sizeof(float):N0} bytes");
using Int8Weights llmInt8 = LlmInt8.Kernels.Quantize(new ReadOnlyTensorSpan<float>(weights, [OutputFeatures, InputFeatures]));
Report(LlmInt8.Kernels, llmInt8);
using Int8Weights plain = PlainInt8.Kernels.Quantize(new ReadOnlyTensorSpan<float>(weights, [OutputFeatures, InputFeatures]));
Report(PlainInt8.Kernels, plain);

void Report(Int8KernelSet kernels, Int8Weights int8)
{
    float[] result = new float[Rows * OutputFeatures];
    kernels.MatMul(new ReadOnlyTensorSpan<float>(activations, [Rows, InputFeatures]), int8, new TensorSpan<float>(result, [Rows, OutputFeatures]));
    double error = Math.Sqrt(result.Zip(exact, (x, y) => Math.Pow(x - y, 2)).Sum() / exact.Sum(y => y * y));
    Console.WriteLine($"{kernels.Name}: {kernels.Spec.Outliers} policy, relative error {error:P1}");
}

float[] Exact()
{
    float[] result = new float[Rows * OutputFeatures];
    for (int m = 0; m < Rows; m++)
    {
        for (int n = 0; n < OutputFeatures; n++)
        {
            double sum = 0;
            for (int k = 0; k < InputFeatures; k++)
            {
                sum += (double)activations[(m * InputFeatures) + k] * weights[(n * InputFeatures) + k];
            }

            result[(m * OutputFeatures) + n] = (float)sum;
        }
    }

    return result;
}

/// <summary>The paper's rule: a column with a value from 6 on is multiplied in 16 bits.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Columns, OutlierThreshold = 6f)]
internal static partial class LlmInt8;

/// <summary>All columns in int8: the large one takes the range of the others.</summary>
[Int8Kernel(Outliers = OutlierPolicy.None)]
internal static partial class PlainInt8;
