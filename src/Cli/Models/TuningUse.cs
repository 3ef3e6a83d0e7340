using KernelGen.Backends.Cuda;
using KernelGen.Tuning;

namespace KernelGen.Cli.Models;

/// <summary>What a record is good for on this machine.</summary>
internal static class TuningUse
{
    /// <summary>Its shape takes it, and on a processor shapes near it.</summary>
    public const string Yes = "yes";

    /// <summary>It was measured with another driver, runtime or version of the kernels: on a processor it counts as a near one until the shape is tuned again, on a GPU not at all.</summary>
    public const string Stale = "stale";

    /// <summary>It is of another device or of kernels that the tool does not have.</summary>
    public const string No = "no";

    public static string Of(TuningRecord record)
    {
        TuningKey key = record.Key;
        TuningDevice device = key.Target.Device;
        return device.Kind == TuningDevice.Cpu
            ? Best(KernelSpecs.All.Select(static set => (set.Cpu.Space.Target, "", CpuTuningSpace.Runtime)), key)
            : Best(
                from here in CudaDevice.All
                where TuningDevice.Of(here) == device
                from set in KernelSpecs.All
                where set.CudaVariants.Count > 0
                select (CudaDispatch.TargetOf(here, set.Spec, set.Name, set.CudaVariants, key.Target.Output), CudaDispatch.DriverOf(here), ""),
                key);
    }

    private static string Best(IEnumerable<(TuningTarget Target, string Driver, string Runtime)> here, TuningKey key)
    {
        bool stale = false;
        foreach ((TuningTarget target, string driver, string runtime) in here)
        {
            if (key.Target.Matches(target) && key.Driver == driver && key.Runtime == runtime)
            {
                return Yes;
            }

            stale |= key.Target.Device == target.Device && key.Target.SpecHash == target.SpecHash;
        }

        return stale ? Stale : No;
    }
}
