using System.Diagnostics.Metrics;

namespace KernelGen.Observability;

/// <summary>What is queued on GPUs. Likewise free where nobody listens.</summary>
internal static class CudaInstruments
{
    private static readonly Counter<long> Launches = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.cuda.launches", "{launch}", "Kernels queued on a GPU; those that a graph replays count once, when it is recorded.");

    private static readonly Counter<long> GraphLaunches = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.cuda.graph_launches", "{launch}", "Graphs queued on a GPU.");

    private static readonly Histogram<double> LoadDuration = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.cuda.kernel_load.duration", "s", "Time for the driver to compile and load a kernel.");

    private static readonly Histogram<double> MultiplicationDuration = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.cuda.matmul.duration", "s", "Time of a multiplication of host memory by CudaMatMul, from its first copy to its result.");

    /// <summary>A kernel was queued.</summary>
    public static void Launched(CudaDevice device, string kernel)
    {
        if (Launches.Enabled)
        {
            Launches.Add(1, new KeyValuePair<string, object?>(Telemetry.Kernel, kernel), new KeyValuePair<string, object?>(Telemetry.Device, device.Name));
        }
    }

    /// <summary>A graph was queued.</summary>
    public static void LaunchedGraph(CudaDevice device)
    {
        if (GraphLaunches.Enabled)
        {
            GraphLaunches.Add(1, new KeyValuePair<string, object?>(Telemetry.Device, device.Name));
        }
    }

    /// <summary>Begins to load a kernel.</summary>
    public static long StartLoad() => Telemetry.Start(LoadDuration);

    /// <summary>A kernel is loaded.</summary>
    public static void StopLoad(long start, CudaDevice device, string kernel)
    {
        if (start != 0)
        {
            LoadDuration.Record(
                Telemetry.Seconds(start), new KeyValuePair<string, object?>(Telemetry.Kernel, kernel), new KeyValuePair<string, object?>(Telemetry.Device, device.Name));
        }
    }

    /// <summary>Begins a multiplication of host memory.</summary>
    public static long StartMultiplication() => Telemetry.Start(MultiplicationDuration);

    /// <summary>Ends a multiplication that succeeded.</summary>
    public static void StopMultiplication(long start, CudaDevice device, string kernels)
    {
        if (start != 0)
        {
            MultiplicationDuration.Record(
                Telemetry.Seconds(start), new KeyValuePair<string, object?>(Telemetry.Kernels, kernels), new KeyValuePair<string, object?>(Telemetry.Device, device.Name));
        }
    }
}
