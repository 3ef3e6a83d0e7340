using System.Text.Json;
using KernelGen.Tuning;

namespace KernelGen.Cli.Output;

/// <summary>Tuning records as the data of a page: each as <see cref="TuningRecordJson"/> writes it, in the order of their shapes.</summary>
internal static class TuningPageJson
{
    /// <summary>Writes the object's properties.</summary>
    public static void Write(Utf8JsonWriter writer, IEnumerable<TuningRecord> records)
    {
        writer.WriteStartArray("records");
        foreach (TuningRecord record in records.OrderBy(static record => record.Key.K).ThenBy(static record => record.Key.N).ThenBy(static record => record.Rows))
        {
            // Parsed and written again, so that the writer's own escaping applies.
            using JsonDocument json = JsonDocument.Parse(TuningRecordJson.Write(record));
            json.RootElement.WriteTo(writer);
        }

        writer.WriteEndArray();
    }
}
