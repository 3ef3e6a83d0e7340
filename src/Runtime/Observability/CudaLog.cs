using KernelGen.Backends.Cuda;
using Microsoft.Extensions.Logging;

namespace KernelGen.Observability;

/// <summary>Entries of the category <c>KernelGen.Cuda</c>.</summary>
internal static partial class CudaLog
{
    public static void KernelLoaded(ILogger logger, CudaKernelVariant variant, CudaDevice device) => KernelLoaded(logger, variant.Name, device.Name);

    [LoggerMessage(EventId = 300, Level = LogLevel.Debug, Message = "Loaded {Kernel} on {Device}")]
    private static partial void KernelLoaded(ILogger logger, string kernel, string device);
}
