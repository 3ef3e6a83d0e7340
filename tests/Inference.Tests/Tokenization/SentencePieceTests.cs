using System.Text;
using System.Text.Json.Nodes;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Tokenization;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>BPE of characters with byte fallback, as LLaMA 2's and Mistral's tokenizer.json have it.</summary>
public sealed class SentencePieceTests
{
    private const string Mark = "\u2581";

    /// <summary>Ids: 0 unk, 1 and 2 the special tokens, 3 to 258 the bytes, then characters and merges.</summary>
    public static JsonObject Llama2(params string[] merges)
    {
        JsonObject vocabulary = new() { ["<unk>"] = 0, ["<s>"] = 1, ["</s>"] = 2 };
        for (int value = 0; value < 256; value++)
        {
            vocabulary[$"<0x{value:X2}>"] = value + 3;
        }

        foreach (string character in (string[])[Mark, "a", "b", "c", "h", "e", "t", "\u4e2d"])
        {
            vocabulary[character] = vocabulary.Count;
        }

        JsonArray pairs = [];
        foreach (string merge in merges)
        {
            string merged = merge.Replace(" ", "", StringComparison.Ordinal);
            if (!vocabulary.ContainsKey(merged))
            {
                vocabulary[merged] = vocabulary.Count;
            }

            pairs.Add(merge);
        }

        return JsonNode.Parse($$$"""
            {
              "added_tokens": [
                {"id": 0, "content": "<unk>", "special": true, "normalized": false},
                {"id": 1, "content": "<s>", "special": true, "normalized": false},
                {"id": 2, "content": "</s>", "special": true, "normalized": false}],
              "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "{{{Mark}}}"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "{{{Mark}}}" }]},
              "pre_tokenizer": null,
              "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"] } } },
              "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "{{{Mark}}}"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
              "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                "vocab": {{{vocabulary.ToJsonString()}}}, "merges": {{{pairs.ToJsonString()}}} }
            }
            """)!.AsObject();
    }

    /// <summary>The same with a Metaspace in place of the normalizers, as newer conversions write it.</summary>
    private static JsonObject WithMetaspace(string scheme, bool split, params string[] merges)
    {
        JsonObject json = Llama2(merges);
        json["normalizer"] = null;
        json["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = Mark, ["prepend_scheme"] = scheme, ["split"] = split };
        return json;
    }

    [Theory]
    [InlineData("a b", "\u2581a|\u2581|b")]
    [InlineData(" a", "\u2581|\u2581a")]
    [InlineData("the", "\u2581|t|he")]
    // Characters without a token are their bytes; those with one are not.
    [InlineData("\u00e9\u4e2d", "\u2581|<0xC3>|<0xA9>|\u4e2d")]
    [InlineData("\ud83d\ude00", "\u2581|<0xF0>|<0x9F>|<0x98>|<0x80>")]
    [InlineData("\n", "\u2581|<0x0A>")]
    [InlineData("\ufffd", "\u2581|<0xEF>|<0xBF>|<0xBD>")]
    // The text behind a special token is normalized by itself, and so gets a mark of its own.
    [InlineData("a<s>a", "\u2581a|<s>|\u2581a")]
    [InlineData("", "")]
    public void Text_is_encoded_as_the_components_say(string text, string expected)
    {
        Tokenizer tokenizer = SmallTokenizer.Load(Llama2($"{Mark} a", "h e"));
        Assert.Equal(expected, tokenizer.Tokens(text));
    }

    [Fact]
    public void Half_of_a_surrogate_pair_counts_as_the_replacement_character()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(Llama2());
        Assert.Equal(tokenizer.Encode("a\ufffdb"), tokenizer.Encode("a\ud800b"));
    }

    [Theory]
    [InlineData("always", true, "a<s>a a", "\u2581a|<s>|\u2581a|\u2581a")]
    [InlineData("first", true, "a<s>a a", "\u2581a|<s>|a|\u2581a")]
    [InlineData("first", false, "<s>a a", "<s>|a|\u2581a")]
    [InlineData("never", true, "a<s>a a", "a|<s>|a|\u2581a")]
    [InlineData("always", true, " a", "\u2581a")]
    // Where it does not split, a merge across words is possible.
    [InlineData("never", true, "b a", "b|\u2581a")]
    [InlineData("never", false, "b a", "b\u2581|a")]
    public void Metaspace_marks_and_splits_as_it_says(string scheme, bool split, string text, string expected)
    {
        JsonObject json = WithMetaspace(scheme, split, $"b {Mark}", $"{Mark} a");
        Assert.Equal(expected, SmallTokenizer.Load(json).Tokens(text));
    }

    [Fact]
    public void An_old_metaspace_has_a_flag_for_its_scheme()
    {
        JsonObject json = WithMetaspace("always", true, $"{Mark} a");
        json["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = Mark, ["add_prefix_space"] = false };
        Assert.Equal("a", SmallTokenizer.Load(json).Tokens("a"));
    }

    [Fact]
    public void Without_a_token_for_every_byte_a_character_becomes_unknown()
    {
        JsonObject json = Llama2();
        json["model"]!["vocab"]!.AsObject().Remove("<0xA9>");
        Tokenizer fused = SmallTokenizer.Load(json.DeepClone());
        Assert.Equal("\u2581|a|<unk>|b|<unk>", fused.Tokens("a\u00e9\u00e9b\u00e9"));
        json["model"]!["fuse_unk"] = false;
        Assert.Equal("\u2581|a|<unk>|<unk>|b", SmallTokenizer.Load(json.DeepClone()).Tokens("a\u00e9\u00e9b"));
        json["model"]!.AsObject().Remove("unk_token");
        Assert.Equal("\u2581|a|b", SmallTokenizer.Load(json).Tokens("a\u00e9\u00e9b"));
    }

    [Fact]
    public void The_template_puts_its_token_before_the_text()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(Llama2());
        Assert.Equal("<s>|\u2581|a", tokenizer.Tokens("a", addSpecialTokens: true));
        Assert.Equal("a", tokenizer.Decode(tokenizer.Encode("a", addSpecialTokens: true)));
    }

    [Theory]
    // Valid as a whole: characters. Not valid as a whole: each byte is U+FFFD, also the one that could stand alone.
    [InlineData(new[] { 0xC3, 0xA9, 0x41 }, "\u00e9A")]
    [InlineData(new[] { 0x41, 0xC3 }, "\ufffd\ufffd")]
    [InlineData(new[] { 0xF0, 0x9F }, "\ufffd\ufffd")]
    public void Byte_tokens_are_decoded_together(int[] bytes, string expected)
    {
        Tokenizer tokenizer = SmallTokenizer.Load(Llama2());
        int a = tokenizer.Encode("a")[^1];
        int[] ids = [a, .. bytes.Select(value => value + 3), a];
        Assert.Equal($"a{expected}a", tokenizer.Decode(ids));
        StreamingDecoder decoder = tokenizer.CreateStreamingDecoder();
        string[] parts = [.. ids.Select(decoder.Append)];
        Assert.All(parts[1..^1], part => Assert.Equal("", part));
        Assert.Equal(expected + "a", parts[^1]);
    }

    [Fact]
    public void Only_the_first_space_of_the_whole_text_is_left_out()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(Llama2());
        Assert.Equal(" a b", tokenizer.Decode(tokenizer.Encode(" a b")));
        StreamingDecoder decoder = tokenizer.CreateStreamingDecoder();
        string streamed = string.Concat(tokenizer.Encode("a b").Select(decoder.Append)) + decoder.Flush();
        Assert.Equal("a b", streamed);

        // Ready for another text.
        Assert.Equal("a", string.Concat(tokenizer.Encode("a").Select(decoder.Append)) + decoder.Flush());
    }

    [Fact]
    public void A_metaspace_decoder_leaves_the_marks_of_the_first_token_out()
    {
        JsonObject json = WithMetaspace("always", true, $"{Mark} a");
        json["decoder"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = Mark, ["prepend_scheme"] = "always" };
        Tokenizer tokenizer = SmallTokenizer.Load(json);
        Assert.Equal("a a", tokenizer.Decode(tokenizer.Encode("a a")));
        Assert.Equal("a a", tokenizer.Decode([1, .. tokenizer.Encode("a a")]));
    }

    [Property(MaxTest = 1000)]
    public Property Any_text_comes_back_and_streams_as_it_is_decoded()
    {
        Tokenizer[] tokenizers =
        [
            SmallTokenizer.Load(Llama2($"{Mark} a", "h e", "a b")),
            SmallTokenizer.Load(WithMetaspace("first", true, $"{Mark} a")),
        ];
        Gen<string> texts = Gen.OneOf(
            Gen.Choose(0, 0x10FFFF).Where(static value => Rune.IsValid(value) && value != '\u2581').Select(static value => new Rune(value).ToString()),
            Gen.Elements(" ", "  ", "a", "b", "he", "\u4e2d", "\n")).ListOf().Select(static pieces => string.Concat(pieces));
        return Prop.ForAll(texts.ToArbitrary(), text => tokenizers.All(tokenizer =>
        {
            int[] ids = tokenizer.Encode(text);
            StreamingDecoder decoder = tokenizer.CreateStreamingDecoder();

            // A Metaspace that finds a mark or space there adds none, so that the text loses it.
            string expected = tokenizer == tokenizers[1] && text.StartsWith(' ') ? text[1..] : text;
            return tokenizer.Decode(ids) == expected && string.Concat(ids.Select(decoder.Append)) + decoder.Flush() == expected;
        }));
    }

    [Property(MaxTest = 1000)]
    public Property Any_ids_stream_as_they_are_decoded()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(Llama2($"{Mark} a", "h e"));
        return Prop.ForAll(Gen.Choose(-1, tokenizer.VocabularySize).ArrayOf().ToArbitrary(), ids =>
        {
            StreamingDecoder decoder = tokenizer.CreateStreamingDecoder();
            return string.Concat(ids.Select(decoder.Append)) + decoder.Flush() == tokenizer.Decode(ids);
        });
    }

    [Fact]
    public void A_million_characters_in_one_word_are_encoded_in_little_time()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(Llama2("a b", "ab c"));
        string text = string.Concat(Enumerable.Repeat("abc ", 250_000));
        Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
    }
}
