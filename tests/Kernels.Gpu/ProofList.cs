using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// The kernels that passed the whole suite on real hardware: SHA-256 of their PTX, with the device, driver and date of the run. A kernel whose
/// text changes by one character is no longer on the list.
/// </summary>
internal static class ProofList
{
    /// <summary>The committed list, beside the tests.</summary>
    public const string FileName = "proven-cuda-kernels.json";

    /// <summary>Every kernel that the sets have and every kernel of the decoder.</summary>
    public static IEnumerable<CudaKernelVariant> Variants => CudaSpecs.All.SelectMany(set => set.CudaVariants).Concat(Specs.Decoder.DecoderKernels.Variants);

    /// <summary>Name and digest of every kernel that the sets have, each once, in ordinal order.</summary>
    public static SortedDictionary<string, string> Emitted()
    {
        SortedDictionary<string, string> result = new(StringComparer.Ordinal);
        foreach (CudaKernelVariant variant in Variants)
        {
            result[variant.Name + "@" + Digest(variant)[..12]] = Digest(variant);
        }

        return result;
    }

    public static string Digest(CudaKernelVariant variant) => Convert.ToHexStringLower(SHA256.HashData(variant.Ptx()));

    /// <summary>The digests on a list.</summary>
    public static HashSet<string> Read(string path)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        return [.. document.RootElement.GetProperty("kernels").EnumerateObject().Select(kernel => kernel.Value.GetString()!)];
    }

    public static void Write(string path, CudaDevice device)
    {
        using FileStream stream = File.Create(path);
        using Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" });
        writer.WriteStartObject();
        writer.WriteString("device", device.Name);
        writer.WriteNumber("computeCapability", device.ComputeCapability);
        writer.WriteNumber("driver", device.DriverVersion);
        writer.WriteString("date", DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture));
        writer.WriteStartObject("kernels");
        foreach ((string name, string digest) in Emitted())
        {
            writer.WriteString(name, digest);
        }

        writer.WriteEndObject();
        writer.WriteEndObject();
    }
}
