namespace KernelGen.Tuning;

/// <summary>What a device is, as far as the choice of kernels depends on it: two machines with the same parts are the same device.</summary>
/// <param name="Kind"><c>cpu</c> or <c>cuda</c>.</param>
/// <param name="Name">What it calls itself.</param>
/// <param name="Architecture">Its instruction sets, or its compute capability as <c>sm_90</c>.</param>
/// <param name="Units">Logical processors that this process may use, or multiprocessors.</param>
internal sealed record TuningDevice(string Kind, string Name, string Architecture, int Units)
{
    public const string Cpu = "cpu", Cuda = "cuda";

    /// <summary>A GPU.</summary>
    public static TuningDevice Of(CudaDevice device) => new(Cuda, device.Name, $"sm_{device.ComputeCapability}", device.Multiprocessors);

    /// <inheritdoc/>
    public override string ToString() => $"{Kind} {Name} ({Architecture}, {Units} {(Kind == Cpu ? "logical processors" : "multiprocessors")})";
}
