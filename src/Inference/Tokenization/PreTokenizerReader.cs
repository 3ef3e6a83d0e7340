using System.Text.Json;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads the <c>pre_tokenizer</c> of a tokenizer file.</summary>
internal static class PreTokenizerReader
{
    private const string Name = "pre_tokenizer";

    /// <summary>The stages, and whether the model sees bytes: the component <c>ByteLevel</c>, which can only be the last.</summary>
    public static (IReadOnlyList<PreTokenizerStage> Stages, bool IsByteLevel) Read(TokenizerJson json, JsonElement root)
    {
        JsonElement[] components = json.Components(root, Name);
        List<PreTokenizerStage> stages = [];
        for (int i = 0; i < components.Length; i++)
        {
            bool isByteLevel = json.TypeOf(components[i], Name) == "ByteLevel";
            stages.Add(isByteLevel ? ByteLevel(json, components[i]) : Stage(json, components[i]));
            if (isByteLevel)
            {
                return i == components.Length - 1
                    ? (stages, true)
                    : throw json.Unsupported(Name, $"{json.TypeOf(components[i + 1], Name)} behind ByteLevel");
            }
        }

        return (stages, false);
    }

    private static PreTokenizerStage ByteLevel(TokenizerJson json, JsonElement component) => new(
        json.Flag(component, "use_regex", true) ? new Gpt2WordSplitter() : new WholeTextSplitter(),
        json.Flag(component, "add_prefix_space", true) ? new TextPrefix(' ', PrefixRule.Always) : null);

    private static PreTokenizerStage Stage(TokenizerJson json, JsonElement component) => json.TypeOf(component, Name) switch
    {
        "Split" => new(Split(json, component)),
        "Digits" => new(new DigitSplitter(json.Flag(component, "individual_digits", false))),
        "Metaspace" => Metaspace(json, component),
        string type => throw json.Unsupported(Name, type),
    };

    private static IWordSplitter Split(TokenizerJson json, JsonElement component)
    {
        string name = json.RequiredText(component, "behavior");
        DelimiterBehavior behavior = name switch
        {
            "Removed" => DelimiterBehavior.Removed,
            "Isolated" => DelimiterBehavior.Isolated,
            "MergedWithPrevious" => DelimiterBehavior.MergedWithPrevious,
            "MergedWithNext" => DelimiterBehavior.MergedWithNext,
            "Contiguous" => DelimiterBehavior.Contiguous,
            _ => throw json.Unsupported($"{Name} option", $"behavior = {name}"),
        };
        bool invert = json.Flag(component, "invert", false);
        JsonElement pattern = json.Section(component, "pattern");
        if (behavior == DelimiterBehavior.Isolated && pattern.TryGetProperty("Regex", out JsonElement regex)
            && regex.ValueKind == JsonValueKind.String && regex.GetString() == Gpt2WordSplitter.Pattern)
        {
            return new Gpt2WordSplitter();
        }

        (string? literal, ScalarPattern? compiled) = json.Pattern(component, Name);
        return literal is not null ? new LiteralSplitter(literal, behavior, invert) : new PatternSplitter(compiled!, behavior, invert);
    }

    private static PreTokenizerStage Metaspace(TokenizerJson json, JsonElement component)
    {
        TextPrefix prefix = ReadPrefix(json, component);
        return new(
            json.Flag(component, "split", true)
                ? new LiteralSplitter(prefix.Mark.ToString(), DelimiterBehavior.MergedWithNext)
                : new WholeTextSplitter(),
            prefix);
    }

    /// <summary>The mark and scheme of a <c>Metaspace</c>, which is also a decoder.</summary>
    public static TextPrefix ReadPrefix(TokenizerJson json, JsonElement component)
    {
        bool hasScheme = TokenizerJson.TryGetPresent(component, "prepend_scheme", out JsonElement value);
        string scheme = hasScheme ? json.Text(value, "prepend_scheme")

            // Older files have a flag instead.
            : json.Flag(component, "add_prefix_space", true) ? "always"
            : "never";
        return new TextPrefix(json.Character(component, "replacement", '\u2581'), scheme switch
        {
            "always" => PrefixRule.Always,
            "first" => PrefixRule.First,
            "never" => PrefixRule.Never,
            _ => throw json.Unsupported("Metaspace option", $"prepend_scheme = {scheme}"),
        });
    }
}
