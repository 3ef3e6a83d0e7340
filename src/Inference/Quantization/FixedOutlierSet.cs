using System.Text.Json;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Quantization;

/// <summary>
/// A calibrated set of outlier columns per linear layer, from a JSON file such as
/// <c>{ "model.decoder.layers.0.fc1": [17, 203], ... }</c>. Layers that it does not name have none.
/// </summary>
public sealed class FixedOutlierSet
{
    /// <summary>Columns of thousands of layers fit many times.</summary>
    private const int MaxBytes = 64 << 20;

    private const string Remedy = "Write an object of layer names, each with a list of column numbers.";

    private readonly Dictionary<string, int[]> _columns;

    private FixedOutlierSet(string file, Dictionary<string, int[]> columns)
    {
        File = file;
        _columns = columns;
    }

    /// <summary>The file that it was read from.</summary>
    public string File { get; }

    /// <summary>The layers that it names.</summary>
    public IEnumerable<string> Layers => _columns.Keys;

    /// <summary>Reads a set.</summary>
    /// <param name="path">The JSON file.</param>
    /// <exception cref="CheckpointException">The file is missing, unreadable, or not such an object; a column is negative or given twice.</exception>
    public static FixedOutlierSet Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        byte[] json = SmallFile.ReadAll(path, MaxBytes);
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw CheckpointException.For(path, $"it is a JSON {document.RootElement.ValueKind}.", Remedy);
            }

            Dictionary<string, int[]> columns = new(StringComparer.Ordinal);
            foreach (JsonProperty layer in document.RootElement.EnumerateObject())
            {
                columns.Add(layer.Name, ReadColumns(path, layer));
            }

            return new FixedOutlierSet(path, columns);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw CheckpointException.For(path, $"the file is not valid JSON ({JsonText.Describe(exception)}).", Remedy, exception);
        }
    }

    /// <summary>The columns of a layer, ascending.</summary>
    /// <param name="layer">The layer's full name in the checkpoint.</param>
    public IReadOnlyList<int> ColumnsOf(string layer) => _columns.TryGetValue(layer, out int[]? columns) ? columns : [];

    private static int[] ReadColumns(string path, JsonProperty layer)
    {
        if (layer.Value.ValueKind != JsonValueKind.Array)
        {
            throw CheckpointException.For(path, $"'{CheckpointException.Shorten(layer.Name)}' is {JsonText.Show(layer.Value)}.", Remedy);
        }

        int[] columns = new int[layer.Value.GetArrayLength()];
        int count = 0;
        foreach (JsonElement element in layer.Value.EnumerateArray())
        {
            columns[count++] = element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int column) && column >= 0
                ? column
                : throw CheckpointException.For(
                    path, $"'{CheckpointException.Shorten(layer.Name)}' lists {JsonText.Show(element)}, a column from 0 was expected.", Remedy);
        }

        Array.Sort(columns);
        for (int i = 1; i < columns.Length; i++)
        {
            if (columns[i] == columns[i - 1])
            {
                throw CheckpointException.For(path, $"'{CheckpointException.Shorten(layer.Name)}' lists column {columns[i]} twice.", "List each once.");
            }
        }

        return columns;
    }
}
