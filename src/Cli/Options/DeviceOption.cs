using System.CommandLine;
using System.Globalization;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Inference.Quantization;

namespace KernelGen.Cli.Options;

/// <summary>The option that says what computes.</summary>
internal static class DeviceOption
{
    private const string CudaPrefix = "cuda:", Processor = "cpu";

    public static Option<string?> Create() => OptionFactory.Text("--device", "D", "What computes: cpu, the default, or cuda:0, cuda:1, ...");

    public static Option<string?> CreateForModels() => OptionFactory.Text(
        "--device", "D[,D...]", "What runs the model: cpu, the default; cuda:0; cuda:0,cuda:1 to share the layers; cuda:0,cpu to leave to the processor what does not fit.");

    /// <summary>The GPUs that are to share a model, and whether the processor helps them; null for the processor alone.</summary>
    /// <exception cref="BadInputException">A device is not here, is named twice, or the processor is not the last.</exception>
    public static ModelDevices? ParseForModels(string? names)
    {
        if (names is null or Processor)
        {
            return null;
        }

        string[] parts = names.Split(',');
        bool withProcessor = parts[^1] == Processor;
        string[] gpus = withProcessor ? parts[..^1] : parts;
        if (gpus.Contains(Processor))
        {
            throw new BadInputException($"--device: '{names}' names the processor before a GPU. It takes the layers that fit no GPU: name it last, as in cuda:0,cpu.");
        }

        if (gpus.GroupBy(static name => name).FirstOrDefault(static group => group.Count() > 1) is { Key: { } twice })
        {
            throw new BadInputException($"--device: '{twice}' was named twice. Name each device once.");
        }

        return new ModelDevices([.. gpus.Select(static name => Parse(name)!)], withProcessor);
    }

    /// <summary>The GPU that was asked for; null for the processor.</summary>
    /// <exception cref="BadInputException">There is no such device here.</exception>
    public static CudaDevice? Parse(string? name)
    {
        if (name is null or Processor)
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
    /// <param name="devices">GPUs; null for the processor.</param>
    public static void Check(QuantizationScheme scheme, ModelDevices? devices)
    {
        if (devices is null && !scheme.RunsOnCpu)
        {
            throw new BadInputException($"--scheme: '{scheme.Name}' runs on a GPU only. Add --device cuda:0, or use fp32, which keeps 16-bit weights in 16 bits.");
        }

        if (devices is not null && !scheme.RunsOnCuda)
        {
            throw new BadInputException(
                $"--device: scheme '{scheme.Name}' has no CUDA kernels. Use cpu, or one of {string.Join(", ", QuantizationScheme.OnDevices.Select(static candidate => candidate.Name))}.");
        }
    }
}
