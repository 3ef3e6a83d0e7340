using System.Text.Json;
using KernelGen.Messages;

namespace KernelGen.Inference.Checkpoints;

/// <summary>Reads a checkpoint's <c>config.json</c>, or an object within it. Every error names file, key, value and remedy.</summary>
/// <remarks>A key whose value is <c>null</c> counts as missing, as in transformers.</remarks>
internal sealed class ConfigReader
{
    /// <summary>A config is a few kilobytes; this leaves room for long label lists.</summary>
    private const int MaxBytes = 16 << 20;

    internal const string FileName = "config.json";

    private readonly JsonElement _object;
    private readonly string _prefix;

    private ConfigReader(string file, JsonElement element, string prefix)
    {
        File = file;
        _object = element;
        _prefix = prefix;
    }

    /// <summary>The path of the file, for messages.</summary>
    public string File { get; }

    /// <summary>Opens <c>config.json</c> in a checkpoint's folder, or the JSON file itself.</summary>
    /// <exception cref="CheckpointException">There is none, or it is not a JSON object.</exception>
    public static ConfigReader Open(string folderOrFile)
    {
        ArgumentNullException.ThrowIfNull(folderOrFile);
        string file = folderOrFile;
        if (Directory.Exists(folderOrFile))
        {
            file = new CheckpointFolder(folderOrFile).Find(FileName) ?? throw CheckpointException.For(
                folderOrFile, $"there is no {FileName} in the folder.", "Name a folder in Hugging Face layout, with config.json beside the weights.");
        }

        return Parse(file, SmallFile.ReadAll(file, MaxBytes));
    }

    /// <summary>Reads a config from memory.</summary>
    /// <param name="file">What messages call it.</param>
    /// <param name="json">The JSON text.</param>
    /// <exception cref="CheckpointException">It is not a JSON object.</exception>
    public static ConfigReader Parse(string file, ReadOnlyMemory<byte> json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                return new ConfigReader(file, document.RootElement.Clone(), "");
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw CheckpointException.For(
                file, $"the file is not valid JSON ({JsonText.Describe(exception)}).", "Correct it, or download it again.", exception);
        }

        throw CheckpointException.For(file, "the file is not a JSON object.", "Correct it, or download it again.");
    }

    /// <summary>Whether the key is there with a value other than <c>null</c>.</summary>
    public bool Has(string key) => TryFind(key, out _);

    /// <summary>Whether the key is there with the value <c>null</c>, for the few keys where that is not the same as missing.</summary>
    public bool IsNull(string key) => _object.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Null;

    /// <summary>The first of several names of the same key that is there, or the last, for the message that it is missing.</summary>
    public string FirstOf(params string[] keys) => Array.Find(keys, Has) ?? keys[^1];

    /// <summary>The whole number under a key.</summary>
    /// <exception cref="CheckpointException">The key is missing or no 32-bit whole number.</exception>
    public int GetInt32(string key) => ToInt32(key, Find(key));

    /// <summary>The whole number under a key, or <paramref name="defaultValue"/> if it is missing.</summary>
    /// <exception cref="CheckpointException">The value is no 32-bit whole number.</exception>
    public int GetInt32(string key, int defaultValue) => TryFind(key, out JsonElement value) ? ToInt32(key, value) : defaultValue;

    /// <summary>The whole number under a key, which must be from 1 to <paramref name="largest"/>: a dimension or a count.</summary>
    /// <exception cref="CheckpointException">The key is missing, or the value is outside of that range.</exception>
    public int GetSize(string key, int largest = int.MaxValue)
    {
        JsonElement value = Find(key);
        int number = ToInt32(key, value);
        return number >= 1 && number <= largest ? number : throw Wrong(key, value, $"a whole number from 1 to {largest}");
    }

    /// <summary>The whole number under a key, which must be a divisor of another.</summary>
    /// <param name="key">The key.</param>
    /// <param name="dividend">The other number.</param>
    /// <param name="dividendName">What messages call it.</param>
    /// <exception cref="CheckpointException">The key is missing, or the value is no divisor.</exception>
    public int GetDivisor(string key, int dividend, string dividendName)
    {
        int divisor = GetSize(key);
        return dividend % divisor == 0
            ? divisor
            : throw Unsupported(key, $"a divisor of {dividendName} ({dividend})", "Correct it, or download the file again.");
    }

    /// <summary>What a norm adds to the variance: a number over zero, or <paramref name="defaultValue"/> if the key is missing.</summary>
    /// <exception cref="CheckpointException">The value is no number over zero.</exception>
    public float GetEpsilon(string key, float defaultValue)
    {
        float epsilon = GetSingle(key, defaultValue);
        return epsilon > 0 ? epsilon : throw Unsupported(key, "a number over 0", "Correct it, or download the file again.");
    }

    /// <summary>Refuses a config in which a key is set that would change the model to one that is not supported.</summary>
    /// <exception cref="CheckpointException">The value is not false.</exception>
    public void RequireFalse(string key)
    {
        if (GetBoolean(key, false))
        {
            throw Unsupported(key, "false", "Use a checkpoint without it.");
        }
    }

    /// <summary>The whole numbers under a key, which is a list or a single number; empty if it is missing.</summary>
    /// <exception cref="CheckpointException">The value is neither.</exception>
    public int[] GetInt32List(string key)
    {
        if (!TryFind(key, out JsonElement value))
        {
            return [];
        }

        return value.ValueKind == JsonValueKind.Array
            ? [.. value.EnumerateArray().Select(element => ToInt32(key, element))]
            : [ToInt32(key, value)];
    }

    /// <summary>The finite number under a key.</summary>
    /// <exception cref="CheckpointException">The key is missing or no finite number.</exception>
    public float GetSingle(string key) => ToSingle(key, Find(key));

    /// <summary>The finite number under a key, or <paramref name="defaultValue"/> if it is missing.</summary>
    /// <exception cref="CheckpointException">The value is no finite number.</exception>
    public float GetSingle(string key, float defaultValue) => TryFind(key, out JsonElement value) ? ToSingle(key, value) : defaultValue;

    /// <summary>The truth value under a key.</summary>
    /// <exception cref="CheckpointException">The key is missing or neither true nor false.</exception>
    public bool GetBoolean(string key) => ToBoolean(key, Find(key));

    /// <summary>The truth value under a key, or <paramref name="defaultValue"/> if it is missing.</summary>
    /// <exception cref="CheckpointException">The value is neither true nor false.</exception>
    public bool GetBoolean(string key, bool defaultValue) => TryFind(key, out JsonElement value) ? ToBoolean(key, value) : defaultValue;

    /// <summary>The string under a key.</summary>
    /// <exception cref="CheckpointException">The key is missing or no string.</exception>
    public string GetString(string key) => ToText(key, Find(key));

    /// <summary>The string under a key, or <paramref name="defaultValue"/> if it is missing.</summary>
    /// <exception cref="CheckpointException">The value is no string.</exception>
    public string GetString(string key, string defaultValue) => TryFind(key, out JsonElement value) ? ToText(key, value) : defaultValue;

    /// <summary>The strings of the list under a key; empty if it is missing.</summary>
    /// <exception cref="CheckpointException">The value is no list of strings.</exception>
    public string[] GetStrings(string key)
    {
        if (!TryFind(key, out JsonElement value))
        {
            return [];
        }

        return value.ValueKind == JsonValueKind.Array
            ? [.. value.EnumerateArray().Select(element => ToText(key, element))]
            : throw Wrong(key, value, "a list of strings");
    }

    /// <summary>The object under a key, or null if it is missing; its errors name keys as <c>outer.inner</c>.</summary>
    /// <exception cref="CheckpointException">The value is no object.</exception>
    public ConfigReader? GetObject(string key)
    {
        if (!TryFind(key, out JsonElement value))
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Object
            ? new ConfigReader(File, value, _prefix + key + ".")
            : throw Wrong(key, value, "an object");
    }

    /// <summary>An error about a value that is of the right kind but not supported: <c>file: 'key' is value, expected ... remedy</c>.</summary>
    /// <param name="key">The key, which must be there.</param>
    /// <param name="expected">What would have been right, such as <c>relu or gelu</c>.</param>
    /// <param name="remedy">What to do.</param>
    public CheckpointException Unsupported(string key, string expected, string remedy) => Wrong(key, Find(key), expected, remedy);

    private int ToInt32(string key, JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) ? number : throw Wrong(key, value, "a whole number of 32 bits");

    private float ToSingle(string key, JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetSingle(out float number) && float.IsFinite(number)
            ? number
            : throw Wrong(key, value, "a finite number");

    private bool ToBoolean(string key, JsonElement value) =>
        value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Wrong(key, value, "true or false");

    private string ToText(string key, JsonElement value)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Wrong(key, value, "a string");
        }
        catch (InvalidOperationException)
        {
            // Bytes that are not UTF-8, or half of a surrogate pair.
            throw Wrong(key, value, "a string of valid Unicode");
        }
    }

    private bool TryFind(string key, out JsonElement value) =>
        _object.TryGetProperty(key, out value) && value.ValueKind != JsonValueKind.Null;

    private JsonElement Find(string key) =>
        TryFind(key, out JsonElement value)
            ? value
            : throw CheckpointException.For(
                File,
                $"the key '{_prefix}{key}' is missing.",
                "Add it, or download the file again from where the checkpoint is from.");

    private CheckpointException Wrong(string key, JsonElement value, string expected, string remedy = "Correct it, or download the file again.")
    {
        return CheckpointException.For(File, $"'{_prefix}{key}' is {JsonText.Show(value)}, {expected} was expected.", remedy);
    }
}
