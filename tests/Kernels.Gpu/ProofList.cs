using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// The kernels that passed the whole suite on real hardware: SHA-256 of their PTX, with the device, driver and date of the run. A kernel whose
/// text changes by one character is no longer proven. Whoever has no GPU can list it as awaiting a run; the tests say so until one is made.
/// </summary>
internal static class ProofList
{
    /// <summary>The committed list, beside the tests.</summary>
    public const string FileName = "proven-cuda-kernels.json";

    private const string Proven = "kernels", Awaiting = "awaiting";

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

    /// <summary>The digests of the kernels that passed.</summary>
    public static HashSet<string> ReadProven(string path) => Read(path, Proven);

    /// <summary>The digests of the kernels that have not been run yet.</summary>
    public static HashSet<string> ReadAwaiting(string path) => Read(path, Awaiting);

    /// <summary>Every kernel as proven by a run on a device.</summary>
    public static void Prove(string path, CudaDevice device) => Write(
        path,
        new Run(device.Name, device.ComputeCapability, device.DriverVersion, DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)),
        _ => true);

    /// <summary>What the list has proven stays so where it is still emitted; every other kernel awaits a run.</summary>
    public static void Await(string path)
    {
        HashSet<string> proven = ReadProven(path);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        JsonElement root = document.RootElement;
        Write(
            path,
            new Run(root.GetProperty("device").GetString()!, root.GetProperty("computeCapability").GetInt32(), root.GetProperty("driver").GetInt32(), root.GetProperty("date").GetString()!),
            proven.Contains);
    }

    private static HashSet<string> Read(string path, string list)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        return document.RootElement.TryGetProperty(list, out JsonElement kernels) ? [.. kernels.EnumerateObject().Select(kernel => kernel.Value.GetString()!)] : [];
    }

    private static void Write(string path, Run run, Func<string, bool> isProven)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            writer.WriteString("device", run.Device);
            writer.WriteNumber("computeCapability", run.ComputeCapability);
            writer.WriteNumber("driver", run.Driver);
            writer.WriteString("date", run.Date);
            foreach ((string list, bool proven) in new[] { (Proven, true), (Awaiting, false) })
            {
                writer.WriteStartObject(list);
                foreach ((string name, string digest) in Emitted().Where(kernel => isProven(kernel.Value) == proven))
                {
                    writer.WriteString(name, digest);
                }

                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        File.WriteAllBytes(path, stream.ToArray());
    }

    /// <summary>Where and when the suite passed.</summary>
    private sealed record Run(string Device, int ComputeCapability, int Driver, string Date);
}
