namespace KernelGen.Cli.Models;

/// <summary>The GPUs that run a model.</summary>
/// <param name="Gpus">The devices, at least one, each once.</param>
/// <param name="WithProcessor">Whether the processor takes the layers that fit none of them.</param>
internal sealed record ModelDevices(IReadOnlyList<CudaDevice> Gpus, bool WithProcessor)
{
    /// <summary>What the device reports, where one stands for all.</summary>
    public string Name => string.Join(", ", Gpus.Select(static gpu => gpu.Name)) + (WithProcessor ? ", the processor" : "");
}
