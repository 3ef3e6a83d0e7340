using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Ilgpu;

/// <summary>Every kernel's time for a shape, and the CUDA target's best on the same device, so that the two stand beside each other.</summary>
internal static class IlgpuBench
{
    public static void Run(IlgpuAccelerator accelerator, int m, int k, int n, TextWriter output)
    {
        foreach ((Int8KernelSet set, string op) in new[] { (NoOutliers.Kernels, "int8-gemm"), (Columns.Kernels, "llm-int8") })
        {
            using IlgpuInt8MatMul matMul = new(accelerator, set);
            using IlgpuBenchmark benchmark = new(matMul, m, k, n, op == "llm-int8" ? 6 : 0);
            foreach (Backends.Ilgpu.IlgpuKernelVariant kernel in matMul.CandidatesFor(m))
            {
                output.WriteLine(benchmark.Run(op, kernel).ToJson());
            }
        }

        if (accelerator.Device.Kind == IlgpuDeviceKind.Cuda && CudaDevice.Unavailable is null)
        {
            // On a thread of its own: ILGPU takes the CUDA context that is current on a thread for its own.
            Thread thread = new(() => RunCuda(m, k, n, output));
            thread.Start();
            thread.Join();
        }
    }

    private static void RunCuda(int m, int k, int n, TextWriter output)
    {
        foreach ((Int8KernelSet set, string op) in new[] { (AbsmaxVector.Kernels, "int8-gemm"), (LlmInt8.Kernels, "llm-int8") })
        {
            using CudaBenchmark cuda = new(CudaDevice.All[0], set);
            output.WriteLine(cuda.Run(op, m, k, n, 6).ToJson());
        }
    }
}
