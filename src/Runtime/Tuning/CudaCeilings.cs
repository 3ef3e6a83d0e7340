using KernelGen.Backends.Cuda;

namespace KernelGen.Tuning;

internal static class CudaCeilings
{
    public static TuningCeilings Measure(CudaContext context, CudaStream stream) => throw new NotImplementedException();
}
