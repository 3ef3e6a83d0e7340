using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using KernelGen.Tuning;

namespace KernelGen.Backends.Cuda;

/// <summary>Which kernel multiplies a shape on a device, by the tuning records, for one type of results.</summary>
internal sealed class CudaDispatch
{
    private readonly CudaDevice device;
    private readonly ElementFormat output;
    private readonly CudaKernelVariant[] candidates;
    private readonly Lazy<TuningTarget> target;
    private readonly TuningDispatch<CudaKernelVariant> tuned;

    /// <param name="device">The device.</param>
    /// <param name="spec">The numeric settings.</param>
    /// <param name="variants">Every generated kernel.</param>
    /// <param name="output">The results' type.</param>
    public CudaDispatch(CudaDevice device, Int8Spec spec, CudaKernelVariant[] variants, ElementFormat output)
    {
        (this.device, this.output) = (device, output);
        candidates = [.. variants.Where(variant => variant.IsGemm && variant.Format == output && variant.Reject(device) is null)];
        target = new Lazy<TuningTarget>(() => TargetOf(device, spec, "", variants, output));

        // The rules come closer to the best kernel than what was best for a neighbouring shape.
        tuned = new TuningDispatch<CudaKernelVariant>(records => new ShapeTable<CudaKernelVariant>(
            records.All.Any(record => record.Key.Target.Device.Kind == TuningDevice.Cuda)
                ? records.EntriesFor(target.Value, DriverOf(device), "", record => Array.Find(candidates, variant => variant.Name == record.Chosen))
                : [],
            shape => BackgroundTuner.Offer(device, spec, variants, output, shape),
            reach: 0));
    }

    /// <summary>The kernel for a shape. A record's kernel that cannot take so many rows is passed over.</summary>
    /// <exception cref="InvalidOperationException">There is none.</exception>
    public CudaKernelVariant Choose(int m, int n, int k) =>
        tuned.Find(m, n, k) is { } found && found.Takes(m)
            ? found
            : CudaKernelChoice.Choose(device, candidates, m, n, k)
                ?? throw new InvalidOperationException(
                    $"No generated kernel multiplies {m} rows into {output} on {device}; the spec was generated without the CUDA target's {output} kernels.");

    /// <summary>What records of these kernels on this device are about.</summary>
    public static TuningTarget TargetOf(CudaDevice device, Int8Spec spec, string name, IReadOnlyList<CudaKernelVariant> variants, ElementFormat output) =>
        new(TuningDevice.Of(device), name, TuningTarget.HashOf(spec), HashOf(variants, output), "", output);

    /// <summary>A record of other kernels than these does not count. The PTX is hashed itself: which generator wrote it does not matter.</summary>
    public static string HashOf(IReadOnlyList<CudaKernelVariant> variants, ElementFormat output)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (CudaKernelVariant variant in variants.Where(variant => variant.IsGemm && variant.Format == output))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(variant.Name + "\n"));
            hash.AppendData(variant.Ptx());
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 8));
    }

    /// <summary>The driver's version, for keys.</summary>
    public static string DriverOf(CudaDevice device) =>
        string.Create(CultureInfo.InvariantCulture, $"CUDA {device.DriverVersion / 1000}.{device.DriverVersion % 1000 / 10}");
}
