using System.Text.Json;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads the <c>normalizer</c> of a tokenizer file.</summary>
internal static class NormalizerReader
{
    private const string Name = "normalizer";

    /// <summary>Several times what any known file has; a replacement's length multiplies that of the text.</summary>
    private const int LongestContent = 256;

    public static TextNormalizer Read(TokenizerJson json, JsonElement root) =>
        new(json.Path, [.. json.Components(root, Name).Select(component => Step(json, component))]);

    private static Func<string, string> Step(TokenizerJson json, JsonElement component)
    {
        string type = json.TypeOf(component, Name);
        switch (type)
        {
            case "NFC":
                return CanonicalForms.Compose;
            case "NFD":
                return CanonicalForms.Decompose;
            case "Lowercase":
                return static text => text.ToLowerInvariant();
            case "Prepend":
                string prefix = Content("prepend");
                return text => text.Length == 0 ? text : prefix + text;
            case "Strip":
                bool left = json.Flag(component, "strip_left", true);
                bool right = json.Flag(component, "strip_right", true);
                return text => left && right ? text.Trim() : left ? text.TrimStart() : right ? text.TrimEnd() : text;
            case "Replace":
                (string? literal, ScalarPattern? pattern) = json.Pattern(component, Name);
                string content = Content("content");
                return literal is not null
                    ? text => text.Replace(literal, content, StringComparison.Ordinal)
                    : text => pattern!.ReplaceAll(text, content);
            default:
                throw json.Unsupported(Name, type);
        }

        string Content(string key)
        {
            string text = json.RequiredText(component, key);
            return text.Length <= LongestContent ? text : throw json.Invalid($"'{key}' has {text.Length} characters, {LongestContent} at most were expected.");
        }
    }
}
