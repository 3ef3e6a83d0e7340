using System.CommandLine;
using System.Globalization;
using KernelGen.Cli.Errors;
using KernelGen.Inference.Quantization;

namespace KernelGen.Cli.Options;

/// <summary>The option that says what computes.</summary>
internal static class DeviceOption
{
    private const string CudaPrefix = "cuda:";

    public static Option<string?> Create() => OptionFactory.Text("--device", "D", "What runs the model: cpu, the default, or cuda:0, cuda:1, ...");

    /// <summary>The GPU that was asked for; null for the processor.</summary>
    /// <exception cref="BadInputException">There is no such device here.</exception>
    public static CudaDevice? Parse(string? name)
    {
        if (name is null or "cpu")
        {
            return null;
        }

        if (!name.StartsWith(CudaPrefix, StringComparison.Ordinal)
            || !int.TryParse(name.AsSpan(CudaPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal))
        {
            throw new BadInputException($"--device: '{name}' is not a device. Use cpu, or cuda:0, cuda:1, ...; 'kernelgen devices' lists them.");
        }

        if (CudaDevice.Unavailable is { } reason)
        {
            throw new BadInputException($"--device: '{name}' cannot be used: {reason} Use cpu.");
        }

        return ordinal < CudaDevice.All.Count
            ? CudaDevice.All[ordinal]
            : throw new BadInputException($"--device: there is no '{name}', the driver shows {CudaDevice.All.Count} device(s). 'kernelgen devices' lists them.");
    }

    /// <summary>Refuses a scheme that the device cannot multiply by.</summary>
    /// <param name="scheme">The scheme.</param>
    /// <param name="device">A GPU; null for the processor.</param>
    public static void Check(QuantizationScheme scheme, CudaDevice? device)
    {
        if (device is null && !scheme.RunsOnCpu)
        {
            throw new BadInputException($"--scheme: '{scheme.Name}' runs on a GPU only. Add --device cuda:0, or use fp32, which keeps 16-bit weights in 16 bits.");
        }

        if (device is not null && !scheme.RunsOnCuda)
        {
            throw new BadInputException(
                $"--device: scheme '{scheme.Name}' has no CUDA kernels. Use cpu, or one of {string.Join(", ", QuantizationScheme.OnDevices.Select(static candidate => candidate.Name))}.");
        }
    }
}
