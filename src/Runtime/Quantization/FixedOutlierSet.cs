using System.Buffers;
using System.Text.Json;
using KernelGen.Messages;
using KernelGen.Storage;

namespace KernelGen;

/// <summary>
/// A calibrated set of outlier columns per linear layer, for <see cref="OutlierPolicy.Fixed"/>. Its file is JSON such as
/// <c>{ "model.decoder.layers.0.fc1": [17, 203], ... }</c>; <c>kernelgen outliers --out</c> writes one. Layers that it does not name have none.
/// Immutable: any thread may use it.
/// </summary>
/// <example>
/// <code>
/// FixedOutlierSet outliers = FixedOutlierSet.Load("outliers.json");
/// using Int8Weights weights = MyKernels.Kernels.Quantize&lt;float&gt;(
///     values, outputFeatures, inputFeatures, new() { FixedOutlierColumns = outliers.ColumnsOf("model.decoder.layers.0.fc1", inputFeatures) });
/// </code>
/// </example>
public sealed class FixedOutlierSet
{
    /// <summary>Columns of thousands of layers fit many times.</summary>
    private const int MaxBytes = 64 << 20;

    private const string Remedy = "Write an object of layer names, each with a list of column numbers.";

    private readonly SortedDictionary<string, int[]> _columns;

    private FixedOutlierSet(string name, SortedDictionary<string, int[]> columns)
    {
        Name = name;
        _columns = columns;
    }

    /// <summary>Makes a set from columns that are known already.</summary>
    /// <param name="columns">The columns of each layer by its full name; ascending or not, each once.</param>
    /// <exception cref="FixedOutlierSetException">A column is negative or given twice.</exception>
    public FixedOutlierSet(IEnumerable<KeyValuePair<string, IReadOnlyList<int>>> columns)
        : this("the fixed outlier set", new SortedDictionary<string, int[]>(StringComparer.Ordinal))
    {
        ArgumentNullException.ThrowIfNull(columns);
        foreach ((string layer, IReadOnlyList<int> list) in columns)
        {
            _columns.Add(layer, Sorted(Name, layer, [.. list]));
        }
    }

    /// <summary>What messages call it: the file that it was read from.</summary>
    public string Name { get; }

    /// <summary>The layers that it names, in ordinal order.</summary>
    public IEnumerable<string> Layers => _columns.Keys;

    /// <summary>Reads a set.</summary>
    /// <param name="path">The JSON file.</param>
    /// <exception cref="FixedOutlierSetException">The file is missing, unreadable, or not such an object; a column is negative or given twice.</exception>
    public static FixedOutlierSet Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        byte[] json = ReadAll(path);
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new FixedOutlierSetException($"{path}: it is a JSON {document.RootElement.ValueKind}. {Remedy}");
            }

            SortedDictionary<string, int[]> columns = new(StringComparer.Ordinal);
            foreach (JsonProperty layer in document.RootElement.EnumerateObject())
            {
                columns.Add(layer.Name, ReadColumns(path, layer));
            }

            return new FixedOutlierSet(path, columns);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new FixedOutlierSetException($"{path}: the file is not valid JSON ({JsonText.Describe(exception)}). {Remedy}", exception);
        }
    }

    /// <summary>Writes the set to a file that <see cref="Load"/> reads; a layer a line. Under the name there is the old content or all of the new.</summary>
    /// <param name="path">The file; one that exists is replaced.</param>
    /// <exception cref="IOException">The disk is full or failed, or the folder does not exist.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        DurableFiles.Replace(Path.GetFullPath(path), ToJson());
    }

    /// <summary>The content of its file.</summary>
    internal ReadOnlySpan<byte> ToJson()
    {
        ArrayBufferWriter<byte> json = new();
        json.Write("{"u8);
        bool first = true;
        foreach ((string layer, int[] columns) in _columns)
        {
            json.Write(first ? "\n  "u8 : ",\n  "u8);
            first = false;
            WriteLayer(json, layer, columns);
        }

        json.Write("\n}\n"u8);
        return json.WrittenSpan;
    }

    /// <summary>The columns of a layer, ascending; empty for a layer that the set does not name.</summary>
    /// <param name="layer">The layer's full name in the checkpoint.</param>
    /// <param name="inputFeatures">K, the layer's number of columns.</param>
    /// <exception cref="FixedOutlierSetException">A column is <paramref name="inputFeatures"/> or greater: the set belongs to another model.</exception>
    public IReadOnlyList<int> ColumnsOf(string layer, int inputFeatures)
    {
        ArgumentNullException.ThrowIfNull(layer);
        int[] columns = _columns.GetValueOrDefault(layer, []);
        return columns.Length == 0 || columns[^1] < inputFeatures
            ? columns
            : throw new FixedOutlierSetException(
                $"{Name}: '{MessageText.Shorten(layer)}' lists column {columns[^1]}, but the layer has {inputFeatures} input features. Calibrate with this checkpoint.");
    }

    private static byte[] ReadAll(string path)
    {
        try
        {
            // The length is asked for before opening, because opening a pipe would wait for a writer; pipes and devices have the length 0.
            FileInfo file = new(path);
            long length = file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target ? target.Length : file.Length;
            if (length is 0 or > MaxBytes)
            {
                throw new FixedOutlierSetException($"{path}: the file has {length} bytes, 1 to {MaxBytes} were expected. {Remedy}");
            }

            byte[] content = new byte[length];
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            stream.ReadExactly(content);

            // Some editors put a byte order mark before JSON, which the JSON reader does not take.
            return content.AsSpan().StartsWith("\uFEFF"u8) ? content[3..] : content;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new FixedOutlierSetException($"{path}: the file cannot be read ({exception.Message}). Check that it exists and that you may read it.", exception);
        }
    }

    private static int[] ReadColumns(string path, JsonProperty layer)
    {
        if (layer.Value.ValueKind != JsonValueKind.Array)
        {
            throw new FixedOutlierSetException($"{path}: '{MessageText.Shorten(layer.Name)}' is {JsonText.Show(layer.Value)}. {Remedy}");
        }

        int[] columns = new int[layer.Value.GetArrayLength()];
        int count = 0;
        foreach (JsonElement element in layer.Value.EnumerateArray())
        {
            columns[count++] = element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int column)
                ? column
                : throw new FixedOutlierSetException(
                    $"{path}: '{MessageText.Shorten(layer.Name)}' lists {JsonText.Show(element)}, a column from 0 was expected. {Remedy}");
        }

        return Sorted(path, layer.Name, columns);
    }

    /// <summary>Sorts columns, in place, and checks them.</summary>
    private static int[] Sorted(string name, string layer, int[] columns)
    {
        Array.Sort(columns);
        if (columns.Length > 0 && columns[0] < 0)
        {
            throw new FixedOutlierSetException($"{name}: '{MessageText.Shorten(layer)}' lists {columns[0]}, a column from 0 was expected. {Remedy}");
        }

        for (int i = 1; i < columns.Length; i++)
        {
            if (columns[i] == columns[i - 1])
            {
                throw new FixedOutlierSetException($"{name}: '{MessageText.Shorten(layer)}' lists column {columns[i]} twice. List each once.");
            }
        }

        return columns;
    }

    private static void WriteLayer(IBufferWriter<byte> json, string layer, int[] columns)
    {
        // A property of an object: the writer checks nothing, because it sees but a part of the document.
        using Utf8JsonWriter writer = new(json, new JsonWriterOptions { SkipValidation = true });
        writer.WritePropertyName(layer);
        writer.WriteStartArray();
        foreach (int column in columns)
        {
            writer.WriteNumberValue(column);
        }

        writer.WriteEndArray();
    }
}
