using System.Text.Json;

namespace KernelGen.Inference.Tokenization;

/// <summary>Reads the <c>decoder</c> of a tokenizer file: bytes, or the steps that SentencePiece's tokens go through.</summary>
internal static class DecoderReader
{
    private const string Name = "decoder";

    public static TokenDecoder Read(TokenizerJson json, JsonElement root)
    {
        JsonElement[] components = json.Components(root, Name);
        if (components.Length == 0)
        {
            throw json.Unsupported(Name, "(none)");
        }

        if (components.Length == 1 && json.TypeOf(components[0], Name) == "ByteLevel")
        {
            return new TokenDecoder { IsByteLevel = true };
        }

        List<Func<string, bool, string>> steps = [];
        TokenDecoder decoder = new() { Steps = steps };
        bool fused = false;
        foreach (JsonElement component in components)
        {
            string type = json.TypeOf(component, Name);

            // Before the bytes are joined, steps see single tokens; behind Fuse, the whole text.
            bool seesTokens = !decoder.ByteFallback && !fused;
            switch (type)
            {
                case "Replace" when seesTokens:
                    (string? literal, ScalarPattern? pattern) = json.Pattern(component, Name);
                    string content = json.RequiredText(component, "content");
                    steps.Add(literal is not null
                        ? (token, _) => token.Replace(literal, content, StringComparison.Ordinal)
                        : (token, _) => pattern!.ReplaceAll(token, content));
                    break;
                case "Metaspace" when seesTokens:
                    TextPrefix prefix = PreTokenizerReader.ReadPrefix(json, component);
                    string mark = prefix.Mark.ToString();
                    steps.Add((token, isFirst) => token.Replace(
                        mark, isFirst && prefix.Rule != PrefixRule.Never ? "" : " ", StringComparison.Ordinal));
                    break;
                case "ByteFallback" when seesTokens:
                    decoder = decoder with { ByteFallback = true };
                    break;
                case "Fuse":
                    fused = true;
                    break;
                case "Strip" when fused && decoder.MostStripped == 0 && json.Count(component, "stop") == 0:
                    decoder = decoder with { Stripped = json.Character(component, "content"), MostStripped = json.Count(component, "start") };
                    break;
                default:
                    throw json.Unsupported(Name, components.Length == 1 ? type : $"{type} at this place of a Sequence");
            }
        }

        return decoder;
    }
}
