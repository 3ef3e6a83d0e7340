using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace KernelGen.Tuning;

/// <summary>
/// The generated kernels that a record is about, on a device: another device, other numbers, or kernels that were generated anew make another
/// target, to which no record of this one applies.
/// </summary>
/// <param name="Device">Where they run.</param>
/// <param name="Spec">The annotated class, for people.</param>
/// <param name="SpecHash">Of the spec's numeric settings but the threshold, which kernels take as an argument.</param>
/// <param name="VariantSetHash">Of everything that there was to choose from.</param>
/// <param name="Generator">The version of the generator, with a hash of the CPU code that it wrote.</param>
/// <param name="Output">The results' type.</param>
internal sealed record TuningTarget(TuningDevice Device, string Spec, string SpecHash, string VariantSetHash, string Generator, ElementFormat Output)
{
    /// <summary>Whether records of the other one apply; the class may be called something else.</summary>
    public bool Matches(TuningTarget other) =>
        Device == other.Device && SpecHash == other.SpecHash && VariantSetHash == other.VariantSetHash && Generator == other.Generator && Output == other.Output;

    /// <summary>Hashes texts, 16 hexadecimal digits.</summary>
    public static string Hash(params IEnumerable<string> texts) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', texts))).AsSpan(0, 8));

    /// <summary>Hashes the settings that decide what kernels compute.</summary>
    public static string HashOf(Int8Spec spec) =>
        Hash(spec.Outliers.ToString(), spec.Granularity.ToString(), spec.Activations.ToString(), spec.Accumulation.ToString());
}

/// <summary>What a record is for. Of two records with the same key the newer one counts.</summary>
/// <param name="Target">The kernels and the device.</param>
/// <param name="Driver">The CUDA version that the driver supports, such as <c>CUDA 13.0</c>; empty for a processor.</param>
/// <param name="Runtime">The .NET runtime, which compiles CPU kernels; empty for a GPU.</param>
/// <param name="Bucket">M, as a <see cref="RowBucket"/>.</param>
/// <param name="N">Output features.</param>
/// <param name="K">Input features.</param>
internal sealed record TuningKey(TuningTarget Target, string Driver, string Runtime, int Bucket, int N, int K)
{
    /// <summary>The same for every process and machine: names the record's file, 32 hexadecimal digits.</summary>
    public string Id()
    {
        TuningDevice device = Target.Device;
        string[] parts =
        [
            device.Kind, device.Name, device.Architecture, Number(device.Units), Target.SpecHash, Target.VariantSetHash, Target.Generator,
            Target.Output.ToString(), Driver, Runtime, Number(Bucket), Number(N), Number(K),
        ];
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', parts))).AsSpan(0, 16));
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
