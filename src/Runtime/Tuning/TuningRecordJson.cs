using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace KernelGen.Tuning;

/// <summary>
/// A record as one line of JSON, the same in the database, in an export and on standard output. It ends with the SHA-256 of all bytes before
/// that last property: a file of which any byte changed is not believed.
/// </summary>
internal static class TuningRecordJson
{
    /// <summary>Goes up when the meaning of a field changes; other versions are not read.</summary>
    public const int Version = 1;

    private const string ChecksumStart = ",\"sha256\":\"", ChecksumEnd = "\"}";

    private const int ChecksumDigits = 64;

    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    private static readonly JsonWriterOptions WriterOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly JsonDocumentOptions ReaderOptions = new() { MaxDepth = 8 };

    /// <summary>Writes a record, UTF-8 without a line end.</summary>
    public static byte[] Write(TuningRecord record)
    {
        ArrayBufferWriter<byte> buffer = new(4096);
        using (Utf8JsonWriter writer = new(buffer, WriterOptions))
        {
            writer.WriteStartObject();
            WriteProperties(writer, record);
            writer.WriteEndObject();
        }

        ReadOnlySpan<byte> covered = buffer.WrittenSpan[..^1];
        string checksum = Convert.ToHexStringLower(SHA256.HashData(covered));
        return [.. covered, .. Encoding.ASCII.GetBytes(ChecksumStart + checksum + ChecksumEnd)];
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <exception cref="FormatException">It is something else, of another version, or damaged; the message says what is wrong.</exception>
    public static TuningRecord Read(ReadOnlyMemory<byte> json)
    {
        int tail = ChecksumStart.Length + ChecksumDigits + ChecksumEnd.Length;
        if (json.Length <= tail)
        {
            throw new FormatException($"it has {json.Length} bytes, too few for a record");
        }

        ReadOnlyMemory<byte> covered = json[..^tail];
        string expected = ChecksumStart + Convert.ToHexStringLower(SHA256.HashData(covered.Span)) + ChecksumEnd;
        if (!json.Span[^tail..].SequenceEqual(Encoding.ASCII.GetBytes(expected)))
        {
            throw new FormatException("its checksum does not fit its content");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(json, ReaderOptions);
            return ReadProperties(document.RootElement);
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            throw new FormatException($"it is not a tuning record of version {Version}: {exception.Message}", exception);
        }
    }

    private static void WriteProperties(Utf8JsonWriter writer, TuningRecord record)
    {
        TuningKey key = record.Key;
        TuningTarget target = key.Target;
        writer.WriteNumber("kernelgen_tuning", Version);
        writer.WriteStartObject("device");
        writer.WriteString("kind", target.Device.Kind);
        writer.WriteString("name", target.Device.Name);
        writer.WriteString("architecture", target.Device.Architecture);
        writer.WriteNumber("units", target.Device.Units);
        writer.WriteEndObject();
        writer.WriteString("driver", key.Driver);
        writer.WriteString("runtime", key.Runtime);
        writer.WriteString("spec", target.Spec);
        writer.WriteString("spec_hash", target.SpecHash);
        writer.WriteString("variant_set_hash", target.VariantSetHash);
        writer.WriteString("generator", target.Generator);
        writer.WriteString("output", NameOf(target.Output));
        writer.WriteNumber("bucket", key.Bucket);
        writer.WriteNumber("n", key.N);
        writer.WriteNumber("k", key.K);
        writer.WriteNumber("m", record.Rows);
        writer.WriteNumber("outlier_columns", record.OutlierColumns);
        writer.WriteNumber("operations", record.Operations);
        writer.WriteNumber("bytes", record.Bytes);
        WriteCeilings(writer, record.Ceilings);
        writer.WriteString("untuned", record.Untuned);
        writer.WriteString("chosen", record.Chosen);
        writer.WriteNumber("seconds", record.Seconds);
        writer.WriteString("measured_at", record.MeasuredAt.ToString(TimeFormat, CultureInfo.InvariantCulture));
        writer.WriteStartArray("variants");
        foreach (VariantResult variant in record.Variants)
        {
            WriteVariant(writer, variant);
        }

        writer.WriteEndArray();
    }

    private static void WriteCeilings(Utf8JsonWriter writer, TuningCeilings? ceilings)
    {
        if (ceilings is null)
        {
            writer.WriteNull("ceilings");
            return;
        }

        writer.WriteStartObject("ceilings");
        writer.WriteNumber("bytes_per_second", ceilings.BytesPerSecond);
        writer.WriteNumber("int8_operations_per_second", ceilings.Int8OperationsPerSecond);
        writer.WriteNumber("float_operations_per_second", ceilings.FloatOperationsPerSecond);
        writer.WriteString("int8_by", ceilings.Int8By);
        writer.WriteString("float_by", ceilings.FloatBy);
        writer.WriteEndObject();
    }

    private static void WriteVariant(Utf8JsonWriter writer, VariantResult variant)
    {
        writer.WriteStartObject();
        writer.WriteString("name", variant.Name);
        writer.WriteString("group", variant.Group);
        writer.WriteString("outcome", NameOf(variant.Outcome));
        writer.WriteString("reason", variant.Reason);
        if (variant.Timing is { } timing)
        {
            writer.WriteNumber("us_median", timing.Median);
            writer.WriteNumber("us_min", timing.Minimum);
            writer.WriteNumber("us_max", timing.Maximum);
            writer.WriteNumber("us_spread", timing.Spread);
            writer.WriteStartArray("us_samples");
            foreach (double sample in timing.Samples)
            {
                writer.WriteNumberValue(sample);
            }

            writer.WriteEndArray();
        }

        writer.WriteEndObject();
    }

    private static TuningRecord ReadProperties(JsonElement json)
    {
        int version = json.GetProperty("kernelgen_tuning").GetInt32();
        if (version != Version)
        {
            throw new FormatException($"it has version {version}, version {Version} is expected");
        }

        JsonElement device = json.GetProperty("device");
        TuningTarget target = new(
            new TuningDevice(Text(device, "kind"), Text(device, "name"), Text(device, "architecture"), Positive(device, "units")),
            Text(json, "spec"),
            Text(json, "spec_hash"),
            Text(json, "variant_set_hash"),
            Text(json, "generator"),
            Named<ElementFormat>(json, "output", NameOf));
        int bucket = json.GetProperty("bucket").GetInt32(), rows = Positive(json, "m");
        if (bucket != RowBucket.Of(rows))
        {
            throw new FormatException($"{rows} rows are not in bucket {bucket}");
        }

        int outliers = json.GetProperty("outlier_columns").GetInt32();
        ArgumentOutOfRangeException.ThrowIfNegative(outliers);
        TuningRecord record = new(
            new TuningKey(target, Text(json, "driver"), Text(json, "runtime"), bucket, Positive(json, "n"), Positive(json, "k")),
            rows,
            outliers,
            ReadCeilings(json.GetProperty("ceilings")),
            Text(json, "untuned"),
            Text(json, "chosen"),
            [.. json.GetProperty("variants").EnumerateArray().Select(ReadVariant)],
            Number(json, "seconds"),
            DateTime.ParseExact(
                Text(json, "measured_at"), TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal));
        return record.Find(record.Chosen) is { Outcome: VariantOutcome.Finalist, Timing: not null }
            ? record
            : throw new FormatException($"the chosen variant '{record.Chosen}' is not among the finalists");
    }

    private static TuningCeilings? ReadCeilings(JsonElement json) => json.ValueKind == JsonValueKind.Null
        ? null
        : new TuningCeilings(
            Number(json, "bytes_per_second"),
            Number(json, "int8_operations_per_second"),
            Number(json, "float_operations_per_second"),
            Text(json, "int8_by"),
            Text(json, "float_by"));

    private static VariantResult ReadVariant(JsonElement json)
    {
        double[] samples = json.TryGetProperty("us_samples", out JsonElement list) ? [.. list.EnumerateArray().Select(Number)] : [];
        return new VariantResult(
            Text(json, "name"),
            Text(json, "group"),
            Named<VariantOutcome>(json, "outcome", NameOf),
            json.GetProperty("reason").GetString(),
            samples.Length > 0 ? new TuningTiming(samples) : null);
    }

    private static string Text(JsonElement json, string name) =>
        json.GetProperty(name).GetString() ?? throw new FormatException($"'{name}' is null");

    private static int Positive(JsonElement json, string name) => json.GetProperty(name).GetInt32() is var value and > 0
        ? value
        : throw new FormatException($"'{name}' is not positive");

    private static double Number(JsonElement json, string name) => Number(json.GetProperty(name));

    private static double Number(JsonElement json) => json.GetDouble() is var value && double.IsFinite(value) && value >= 0
        ? value
        : throw new FormatException($"{json.GetRawText()} is not a number from 0 on");

    private static T Named<T>(JsonElement json, string name, Func<T, string> nameOf)
        where T : struct, Enum
    {
        string text = Text(json, name);
        foreach (T value in Enum.GetValues<T>())
        {
            if (nameOf(value) == text)
            {
                return value;
            }
        }

        throw new FormatException($"'{text}' is not a value of '{name}'");
    }

    private static string NameOf<T>(T value)
        where T : struct, Enum => value.ToString().ToLowerInvariant();
}
