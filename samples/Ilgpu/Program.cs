// LLM.int8() on whatever ILGPU reaches: the best accelerator of this machine, and the one on the processor that kernels are debugged on.
using KernelGen;

const int Rows = 48, Outputs = 200, Inputs = 512;
Random random = new(1);
float[] weights = [.. Enumerable.Range(0, Outputs * Inputs).Select(_ => random.NextSingle() - 0.5f)];
float[] activations = [.. Enumerable.Range(0, Rows * Inputs).Select(i => i % Inputs == 7 ? 40 : random.NextSingle() - 0.5f)];

using Int8Weights int8 = SampleKernels.Kernels.Quantize<float>(weights, Outputs, Inputs);
float[,] oracle = KernelGen.Reference.ReferenceMatMul.MatMul(SampleKernels.Kernels.Spec, Matrix(activations, Rows), Matrix(weights, Outputs));

using IlgpuContext context = new();
foreach (IlgpuDevice device in new[] { context.Best, context.Devices[^1] }.Distinct())
{
    using IlgpuAccelerator accelerator = context.Open(device);
    using IlgpuInt8MatMul matMul = new(accelerator, SampleKernels.Kernels);
    using IlgpuInt8Weights uploaded = IlgpuInt8Weights.Upload(accelerator, int8);
    float[] result = new float[Rows * Outputs];
    matMul.MatMul<float, float>(activations, Rows, uploaded, result);

    double largest = 0;
    for (int i = 0; i < result.Length; i++)
    {
        largest = Math.Max(largest, Math.Abs(result[i] - oracle[i / Outputs, i % Outputs]) / (1 + Math.Abs(oracle[i / Outputs, i % Outputs])));
    }

    Console.WriteLine($"{device.Kind}: {device.Name}");
    Console.WriteLine($"  {matMul.Choose(Rows).Name}: {(largest < 1e-5 ? "agrees with the oracle" : $"differs from the oracle by {largest:E1}")}");
}

static float[,] Matrix(float[] values, int rows)
{
    float[,] matrix = new float[rows, values.Length / rows];
    Buffer.BlockCopy(values, 0, matrix, 0, values.Length * sizeof(float));
    return matrix;
}

/// <summary>The paper's rule: columns with a value from 6 on are multiplied in 16 bits.</summary>
[Int8Kernel(Targets = KernelTargets.Cpu | KernelTargets.Ilgpu)]
internal static partial class SampleKernels;
