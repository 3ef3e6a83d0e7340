using System.Text.Json.Nodes;
using KernelGen.Inference.Tokenization;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>What each part of tokenizer.json does to a text.</summary>
public sealed class TokenizerComponentTests
{
    [Theory]
    // Without a flag: anywhere, and white space stays.
    [InlineData("", "a<x>b <x> c", "a|<x>|b|\u0120|<x>|\u0120|c")]
    // lstrip and rstrip take white space along.
    [InlineData("lstrip", "a \n <x> c", "a|<x>|\u0120|c")]
    [InlineData("rstrip", "a <x> \n c", "a|\u0120|<x>|c")]
    [InlineData("lstrip rstrip", " <x>  <x> ", "<x>|<x>")]
    // single_word: not beside a letter, digit or underscore.
    [InlineData("single_word", "<x>", "<x>")]
    [InlineData("single_word", "a<x> <x>1 _<x> -<x>-", "a|<|x|>|\u0120|<|x|>|1|\u0120|_|<|x|>|\u0120|-|<x>|-")]
    [InlineData("normalized", "a<x>b", "a|<x>|b")]
    public void Added_tokens_are_found_as_their_flags_say(string flags, string text, string expected)
    {
        Tokenizer tokenizer = SmallTokenizer.Load(SmallTokenizer.Json().WithAdded(256, "<x>", flags));
        Assert.Equal(expected, tokenizer.Tokens(text));
    }

    [Fact]
    public void Of_several_added_tokens_the_leftmost_and_then_the_longest_is_found()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(SmallTokenizer.Json()
            .WithAdded(256, "ab").WithAdded(257, "abcd").WithAdded(258, "bcd").WithAdded(259, "\u4e2d\ud83d\ude00"));

        Assert.Equal("abcd|ab|c|x|bcd", tokenizer.Tokens("abcdabcxbcd"));
        Assert.Equal("\u4e2d\ud83d\ude00|a", tokenizer.Tokens("\u4e2d\ud83d\ude00a"));
    }

    [Fact]
    public void Tokens_that_are_normalized_are_looked_for_in_what_the_others_left()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(SmallTokenizer.Json().WithAdded(256, "abc", "normalized").WithAdded(257, "cd"));
        Assert.Equal("a|b|cd", tokenizer.Tokens("abcd"));
    }

    [Fact]
    public void Special_tokens_are_left_out_of_decoded_text_and_other_added_tokens_are_not()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(SmallTokenizer.Json().WithAdded(256, "<end>", "special").WithAdded(257, "two words"));
        int[] ids = tokenizer.Encode("a two words<end>");

        Assert.Equal(['a', ' ', 257, 256], ids);
        Assert.Equal("a two words", tokenizer.Decode(ids));
        Assert.Equal("a two words<end>", tokenizer.Decode(ids, skipSpecialTokens: false));
        Assert.True(tokenizer.TryGetId("<end>", out int id) && id == 256);
        Assert.False(tokenizer.TryGetId("<start>", out _));
        Assert.Equal(258, tokenizer.VocabularySize);
        Assert.Null(tokenizer.GetToken(258));
        Assert.Equal("", tokenizer.Decode([258, -1]));
    }

    [Fact]
    public void A_prefix_space_goes_before_each_text_that_has_none()
    {
        JsonObject json = SmallTokenizer.Json("\u0120 a").WithAdded(257, "<x>");
        json["pre_tokenizer"]!["add_prefix_space"] = true;
        Tokenizer tokenizer = SmallTokenizer.Load(json);

        Assert.Equal("\u0120a|<x>|\u0120a", tokenizer.Tokens("a<x> a"));
        Assert.Equal("\u0120a|<x>|\u0120a", tokenizer.Tokens("a<x>a"));
        Assert.Equal("", tokenizer.Tokens(""));
    }

    [Fact]
    public void Without_the_pattern_merges_cross_words()
    {
        JsonObject json = SmallTokenizer.Json("a \u0120", "a\u0120 b");
        Assert.Equal("a|\u0120|b", SmallTokenizer.Load(json.DeepClone()).Tokens("a b"));

        json["pre_tokenizer"]!["use_regex"] = false;
        Assert.Equal("a\u0120b", SmallTokenizer.Load(json).Tokens("a b"));
    }

    [Fact]
    public void Merges_may_be_pairs_or_strings()
    {
        JsonObject json = SmallTokenizer.Json("a b", "ab c");
        Tokenizer pairs = SmallTokenizer.Load(json.DeepClone());
        json["model"]!["merges"] = new JsonArray("a b", "ab c");
        Tokenizer strings = SmallTokenizer.Load(json);

        Assert.Equal("abc|ab", pairs.Tokens("abcab"));
        Assert.Equal("abc|ab", strings.Tokens("abcab"));
    }

    [Fact]
    public void A_word_of_the_vocabulary_is_one_token_only_when_merges_are_ignored()
    {
        // No merge leads to "abc".
        JsonObject json = SmallTokenizer.Json("b c");
        json["model"]!["vocab"]!["abc"] = 900;
        Assert.Equal("a|bc", SmallTokenizer.Load(json.DeepClone()).Tokens("abc"));

        json["model"]!["ignore_merges"] = true;
        Assert.Equal("abc|\u0120|a|bc", SmallTokenizer.Load(json).Tokens("abc abc"));
    }

    [Theory]
    [InlineData(null, false, "a|b")]
    [InlineData("<unk>", false, "a|<unk>|<unk>|b")]
    [InlineData("<unk>", true, "a|<unk>|b")]
    public void Bytes_without_a_token_become_the_unknown_token_if_there_is_one(string? unknown, bool fuse, string expected)
    {
        JsonObject json = SmallTokenizer.Json();
        JsonObject vocabulary = json["model"]!["vocab"]!.AsObject();
        vocabulary.Remove("x");
        vocabulary.Remove("y");
        vocabulary["<unk>"] = 999;
        json["model"]!["unk_token"] = unknown;
        json["model"]!["fuse_unk"] = fuse;

        Assert.Equal(expected, SmallTokenizer.Load(json).Tokens("axyb"));
    }

    [Fact]
    public void The_template_adds_its_tokens_only_when_asked()
    {
        JsonObject json = SmallTokenizer.Json().WithAdded(256, "<s>", "special").WithAdded(257, "</s>", "special");
        json["post_processor"] = JsonNode.Parse("""
            {"type":"Sequence","processors":[{"type":"ByteLevel","trim_offsets":true},{"type":"TemplateProcessing",
            "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],
            "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[256],"tokens":["<s>"]},"</s>":{"id":"</s>","ids":[257],"tokens":["</s>"]}}}]}
            """);
        Tokenizer tokenizer = SmallTokenizer.Load(json);

        Assert.Equal("<s>|a|</s>", tokenizer.Tokens("a", addSpecialTokens: true));
        Assert.Equal("<s>|</s>", tokenizer.Tokens("", addSpecialTokens: true));
        Assert.Equal("a", tokenizer.Tokens("a"));
    }

    [Fact]
    public void Roberta_processing_puts_its_tokens_around_the_text()
    {
        JsonObject json = SmallTokenizer.Json().WithAdded(256, "<s>", "special").WithAdded(257, "</s>", "special");
        json["post_processor"] = JsonNode.Parse("""{"type":"RobertaProcessing","sep":["</s>",257],"cls":["<s>",256],"trim_offsets":true}""");
        Assert.Equal("<s>|a|</s>", SmallTokenizer.Load(json).Tokens("a", addSpecialTokens: true));
    }

    [Fact]
    public void The_bundled_tokenizer_knows_its_special_tokens()
    {
        Tokenizer tokenizer = Tokenizer.Load(Path.Combine(RepositoryPaths.Model("opt-1.5m"), "tokenizer.json"));

        Assert.Equal(2048, tokenizer.VocabularySize);
        Assert.Equal([2, 0], tokenizer.Encode("</s><s>"));
        // Its template is the bare text.
        Assert.Equal(tokenizer.Encode("text"), tokenizer.Encode("text", addSpecialTokens: true));
    }
}
