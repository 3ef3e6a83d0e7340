using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// A kernel that traps takes the process's context on the device with it, for good: the driver gives no other one out. Every call afterwards must say so,
/// none may hang, and what there is can still be disposed.
/// </summary>
internal static unsafe class LostDeviceChecks
{
    private const int M = 20, N = 96, K = 128, Calls = 200;

    private static readonly CudaKernelVariant Trap = new(
        "trap",
        CudaKernelRole.MeasurePeak,
        61,
        false,
        ElementFormat.Float16,
        0,
        0,
        false,
        0,
        0,
        static () => """
            .version 6.0
            .target sm_61
            .address_size 64
            .visible .entry trap()
            {
            trap;
            ret;
            }
            """u8);

    public static void Run(CudaDevice device, TextWriter log, List<string> failures)
    {
        int before = failures.Count;
        Random random = new(3);
        float[] a = Values(M * K), w = Values(N * K), result = new float[M * N];
        using Int8Weights host = LlmInt8.Kernels.Quantize<float>(w, N, K);
        CudaMatMul matMul = new(device, LlmInt8.Kernels);
        CudaWeights weights = matMul.Upload(host);
        matMul.MatMul<float, float>(a, M, weights, result);
        Expect("a wait for the kernel that trapped", () => LoseContext(device));
        for (int i = 0; i < Calls; i++)
        {
            Expect("a multiplication", () => matMul.MatMul<float, float>(a, M, weights, result));
            Expect("a multiplication in the background", () => matMul.MatMulAsync<float, float>(a, M, weights, result).GetAwaiter().GetResult());
            Expect("an upload", () => matMul.Upload(host).Dispose());
        }

        weights.Dispose();
        matMul.Dispose();
        Expect("opening the device again", () => new CudaMatMul(device, LlmInt8.Kernels).Dispose());
        log.WriteLine($"lost device: {failures.Count - before} failures");

        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 8) - 4)];

        void Expect(string what, Action call)
        {
            try
            {
                call();
                failures.Add($"{what} on a lost device did not fail");
            }
            catch (CudaException exception) when (exception.IsDeviceLost && exception.Message.Contains("lost to this process", StringComparison.Ordinal))
            {
                // It says so.
            }
            catch (Exception exception)
            {
                failures.Add($"{what} on a lost device fails with {exception.GetType().Name}: {exception.Message}");
            }
        }
    }

    private static void LoseContext(CudaDevice device)
    {
        using CudaContext context = new(device);
        using CudaStream stream = new(context);
        using CudaKernel kernel = new(context, Trap);
        kernel.Launch(stream, 1, 1, 0, null);
        stream.Synchronize();
    }
}
