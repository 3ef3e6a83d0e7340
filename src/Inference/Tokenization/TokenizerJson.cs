using System.Text.Json;
using KernelGen.Messages;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads values of a tokenizer file; every error names file, key and value.</summary>
internal sealed class TokenizerJson(string path)
{
    /// <summary>The file.</summary>
    public string Path => path;

    public TokenizerException Invalid(string problem) => TokenizerException.Invalid(path, problem);

    public TokenizerException Unsupported(string section, string component) => TokenizerException.Unsupported(path, section, component);

    /// <summary>Whether a value other than <c>null</c> is there.</summary>
    public static bool TryGetPresent(JsonElement parent, string name, out JsonElement value) =>
        parent.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;

    public JsonElement Section(JsonElement parent, string name, JsonValueKind kind = JsonValueKind.Object) =>
        parent.TryGetProperty(name, out JsonElement section) && section.ValueKind == kind
            ? section
            : throw Invalid($"'{name}' is missing or not a JSON {kind}.");

    public string Text(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : throw Invalid($"'{name}' is {JsonText.Show(value)}, a string was expected.");

    /// <summary>The string under a key.</summary>
    public string RequiredText(JsonElement parent, string name) =>
        TryGetPresent(parent, name, out JsonElement value) ? Text(value, name) : throw Invalid($"'{name}' is missing.");

    /// <summary>The single UTF-16 unit under a key, or a default where there may be one.</summary>
    public char Character(JsonElement parent, string name, char? defaultValue = null)
    {
        if (defaultValue is char value && !TryGetPresent(parent, name, out _))
        {
            return value;
        }

        return RequiredText(parent, name) is [char character] ? character : throw Invalid($"'{name}' is not one character.");
    }

    public int Id(JsonElement value, string token) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int id) && id >= 0
            ? id
            : throw Invalid($"the token {TokenizerException.Quote(token)} has the id {JsonText.Show(value)}, a whole number from 0 was expected.");

    /// <summary>The count under a key, 0 if it is missing.</summary>
    public int Count(JsonElement parent, string name)
    {
        if (!TryGetPresent(parent, name, out JsonElement value))
        {
            return 0;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int count) && count >= 0
            ? count
            : throw Invalid($"'{name}' is {JsonText.Show(value)}, a whole number from 0 was expected.");
    }

    public bool Flag(JsonElement parent, string name, bool defaultValue)
    {
        if (!TryGetPresent(parent, name, out JsonElement value))
        {
            return defaultValue;
        }

        return value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? value.GetBoolean()
            : throw Invalid($"'{name}' is {JsonText.Show(value)}, true or false was expected.");
    }

    /// <summary>A component's type.</summary>
    public string TypeOf(JsonElement component, string section) =>
        component.ValueKind == JsonValueKind.Object && component.TryGetProperty("type", out JsonElement type)
            ? Text(type, $"{section}.type")
            : throw Invalid($"the {section} is {JsonText.Show(component)}, an object with a type was expected.");

    /// <summary>The components of a section: none, one, or those of a sequence (the reference implementation nests them at will).</summary>
    public JsonElement[] Components(JsonElement root, string section) =>
        TryGetPresent(root, section, out JsonElement component) ? [.. Flatten(component, section)] : [];

    /// <summary>A pattern: <c>{"String": ...}</c> or <c>{"Regex": ...}</c>; of the results one is null.</summary>
    public (string? Literal, ScalarPattern? Pattern) Pattern(JsonElement component, string section)
    {
        JsonElement pattern = Section(component, "pattern");
        if (TryGetPresent(pattern, "Regex", out JsonElement regex))
        {
            return (null, new ScalarPattern(Text(regex, "pattern.Regex"), path));
        }

        string literal = RequiredText(pattern, "String");
        return literal.Length != 0 ? (literal, null) : throw Invalid($"a {section} has an empty pattern.");
    }

    private IEnumerable<JsonElement> Flatten(JsonElement component, string section)
    {
        if (TypeOf(component, section) != "Sequence")
        {
            return [component];
        }

        // normalizers, pretokenizers, processors, decoders: the list's name depends on the section.
        JsonElement list = component.EnumerateObject().FirstOrDefault(static property => property.Value.ValueKind == JsonValueKind.Array).Value;
        return list.ValueKind == JsonValueKind.Array
            ? list.EnumerateArray().SelectMany(inner => Flatten(inner, section))
            : throw Invalid($"the {section} is a Sequence without a list.");
    }
}
