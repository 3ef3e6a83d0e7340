using System.Buffers;
using System.Text;
using System.Text.Json;

namespace KernelGen.Tuning;

/// <summary>Many records in one file: what is exported, imported, and bundled with the library.</summary>
internal static class TuningArchive
{
    private const int Version = 1;

    private const string BundledResource = "bundled-tuning.json";

    /// <summary>The records that come with the library, of the devices that it was measured on.</summary>
    public static IReadOnlyList<TuningRecord> Bundled()
    {
        using Stream stream = typeof(TuningArchive).Assembly.GetManifestResourceStream(BundledResource)
            ?? throw new InvalidOperationException($"The assembly has no resource {BundledResource}.");
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return Read(bytes);
    }

    /// <summary>Writes records, a line each.</summary>
    public static byte[] Write(IEnumerable<TuningRecord> records)
    {
        ArrayBufferWriter<byte> buffer = new();
        buffer.Write(Encoding.UTF8.GetBytes($"{{\"kernelgen_tuning_export\":{Version},\"records\":["));
        ReadOnlySpan<byte> separator = "\n"u8;
        foreach (TuningRecord record in records)
        {
            buffer.Write(separator);
            buffer.Write(TuningRecordJson.Write(record));
            separator = ",\n"u8;
        }

        buffer.Write("\n]}\n"u8);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Reads records.</summary>
    /// <exception cref="FormatException">It is no such file, or any record in it is damaged: nothing of it is to be believed then.</exception>
    public static IReadOnlyList<TuningRecord> Read(ReadOnlyMemory<byte> json)
    {
        List<TuningRecord> records = [];
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            if (document.RootElement.ValueKind != JsonValueKind.Object
                || !document.RootElement.TryGetProperty("kernelgen_tuning_export", out JsonElement version) || version.GetInt32() != Version)
            {
                throw new FormatException($"it is not an export of tuning records of version {Version}");
            }

            foreach (JsonElement element in document.RootElement.GetProperty("records").EnumerateArray())
            {
                records.Add(Read(element, records.Count + 1));
            }
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            throw new FormatException($"it is not an export of tuning records: {exception.Message}", exception);
        }

        return records;
    }

    private static TuningRecord Read(JsonElement element, int number)
    {
        try
        {
            return TuningRecordJson.Read(Encoding.UTF8.GetBytes(element.GetRawText()));
        }
        catch (FormatException exception)
        {
            throw new FormatException($"record {number}: {exception.Message}", exception);
        }
    }
}
