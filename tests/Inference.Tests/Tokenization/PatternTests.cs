using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Tokenization;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>The pre-tokenizers that cut text at patterns: those of LLaMA 3, Qwen2 and BLOOM, and what the parts of any such do.</summary>
public sealed class PatternTests
{
    public const string Llama3 =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string Qwen2 =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // Sets within sets: neither parentheses nor bars belong to a word, nor what stands between the inner brackets.
    private const string Bloom = @" ?[^(\s|[.,!?…。，、।۔،])]+";

    /// <summary>A byte-level tokenizer whose words a pattern makes.</summary>
    public static JsonObject WithSplit(string pattern, string behavior, bool invert = false, params string[] merges)
    {
        JsonObject json = SmallTokenizer.Json(merges);
        json["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Sequence",
            ["pretokenizers"] = new JsonArray(
                new JsonObject { ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = pattern }, ["behavior"] = behavior, ["invert"] = invert },
                new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false }),
        };
        return json;
    }

    [Theory]
    [InlineData(Llama3, "Hello world! I'LL pay 12345 now.", "Hello| world|!| I|'LL| pay| |123|45| now|.")]
    [InlineData(Llama3, "a\r\n\n  b   c\t\td", "a|\r\n\n| | b|  | c|\t|\td")]
    [InlineData(Llama3, "x = (y);\n\nend  ", "x| =| (|y|);\n\n|end|  ")]
    [InlineData(Llama3, "don't _it's", "don|'t| _|it|'s")]
    [InlineData(Qwen2, "12345 a1", "1|2|3|4|5| a|1")]
    // Mathematical digits and letters beyond the Basic Multilingual Plane: each is one character of its category.
    [InlineData(Llama3, "\ud835\udfd8\ud835\udfd9\ud835\udfda\ud835\udfdb \ud835\udc00\ud835\udc01 \ud83d\ude00!", "\ud835\udfd8\ud835\udfd9\ud835\udfda|\ud835\udfdb| \ud835\udc00\ud835\udc01| \ud83d\ude00!")]
    [InlineData(Bloom, "Hello, world! (a|b)...", "Hello|,| world|! (|a|||b|)...")]
    [InlineData(Bloom, "x  y 12\n。z", "x| | y| 12|\n。|z")]
    public void The_patterns_of_known_models_cut_text_as_they_say(string pattern, string text, string expected) =>
        Assert.Equal(expected, string.Join('|', Split(new PatternSplitter(new ScalarPattern(pattern, "file"), DelimiterBehavior.Isolated), text)));

    [Fact]
    public void Half_of_a_surrogate_pair_is_one_character_that_is_no_letter()
    {
        string[] words = Split(new PatternSplitter(new ScalarPattern(Llama3, "file"), DelimiterBehavior.Isolated), "a\ud800b\udc00");
        Assert.True(words.SequenceEqual(["a", "\ud800b", "\udc00"]));
    }

    /// <summary>The behaviors as the reference implementation documents them, on its own example.</summary>
    [Theory]
    [InlineData("Removed", false, "the|final|countdown")]
    [InlineData("Isolated", false, "the|-|final|-|-|countdown")]
    [InlineData("MergedWithPrevious", false, "the-|final-|-|countdown")]
    [InlineData("MergedWithNext", false, "the|-final|-|-countdown")]
    [InlineData("Contiguous", false, "the|-|final|--|countdown")]
    [InlineData("Removed", true, "-|-|-")]
    [InlineData("Isolated", true, "the|-|final|-|-|countdown")]
    [InlineData("MergedWithPrevious", true, "the|-final|-|-countdown")]
    public void Delimiters_behave_as_documented(string behavior, bool invert, string expected)
    {
        DelimiterBehavior parsed = Enum.Parse<DelimiterBehavior>(behavior);
        Assert.Equal(expected, string.Join('|', Split(new LiteralSplitter("-", parsed, invert), "the-final--countdown")));
        Assert.Equal(expected, string.Join('|', Split(new PatternSplitter(new ScalarPattern("-", "file"), parsed, invert), "the-final--countdown")));
    }

    [Theory]
    [InlineData(false, "a|123|b|4")]
    [InlineData(true, "a|1|2|3|b|4")]
    public void Digits_are_cut_out_whole_or_one_by_one(bool individual, string expected)
    {
        JsonObject json = SmallTokenizer.Json("1 2", "12 3", "a 1");
        json["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Sequence",
            ["pretokenizers"] = new JsonArray(
                new JsonObject { ["type"] = "Digits", ["individual_digits"] = individual },
                new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = true }),
        };
        Assert.Equal(expected, SmallTokenizer.Load(json).Tokens("a123b4"));
    }

    [Fact]
    public void Merges_stay_within_the_words_of_the_pattern()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(WithSplit(Llama3, "Isolated", false, "1 2", "12 3", "123 4", "! \u010A"));
        Assert.Equal("123|4|!\u010A", tokenizer.Tokens("1234!\n"));
    }

    [Property(MaxTest = 1000)]
    public Property Any_text_comes_back_whatever_cuts_it()
    {
        Gen<string> texts = Gen.Elements([.. "aZ'Strevmld  \t\r\n\u00a0\u200901\u0662\u00bd.,-|()\u00e9\u4e2d\u0301\ufffd\u3002"]).Select(static c => c.ToString())
            .Or(Gen.Elements("\ud835\udfd8", "\ud83d\ude00", "\ud840\udc00"))
            .ListOf().Select(static pieces => string.Concat(pieces));
        Tokenizer[] tokenizers = [.. ((string[])[Llama3, Qwen2, Bloom]).Select(pattern => SmallTokenizer.Load(WithSplit(pattern, "Isolated")))];
        return Prop.ForAll(texts.ToArbitrary(), text => tokenizers.All(tokenizer => tokenizer.Decode(tokenizer.Encode(text)) == text));
    }

    [Property(MaxTest = 1000)]
    public Property A_character_beyond_the_plane_counts_as_any_of_its_category()
    {
        // Pairs of characters of one category, within and beyond the plane: both texts are cut at the same places.
        (string Inside, string Beyond)[] pairs = [("\u4e2d", "\ud840\udc00"), ("7", "\ud835\udfd8"), ("+", "\ud835\udec1"), ("A", "\ud835\udc00"), (" ", " "), ("\n", "\n"), ("'", "'"), ("s", "s")];
        IWordSplitter splitter = new PatternSplitter(new ScalarPattern(Llama3, "file"), DelimiterBehavior.Isolated);
        return Prop.ForAll(Gen.Choose(0, pairs.Length - 1).ListOf().ToArbitrary(), indexes =>
        {
            int[] inside = [.. Split(splitter, string.Concat(indexes.Select(i => pairs[i].Inside))).Select(word => word.Length)];
            int[] beyond = [.. Split(splitter, string.Concat(indexes.Select(i => pairs[i].Beyond))).Select(word => word.EnumerateRunes().Count())];
            return inside.SequenceEqual(beyond);
        });
    }

    [Fact]
    public void A_pattern_that_takes_exponential_time_is_ended()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(WithSplit("(a|aa)+b", "Isolated"));
        TokenizerException error = Assert.Throws<TokenizerException>(() => tokenizer.Encode(new string('a', 100)));
        Assert.Contains("takes too long", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(@"[a-c[x-z]\]]+", @"[a-cx-z\]]+")]
    [InlineData(@"(a)(?:b)(?i:c)(?!d)(?=e)(?<=f)(?<!g)(?>h)", @"(?:a)(?:b)(?i:c)(?!d)(?=e)(?<=f)(?<!g)(?>h)")]
    [InlineData(@"\p{Lu}{2}\P{N}{1,}\.{1,3}\s\d", @"\p{Lu}{2}\P{N}{1,}\.{1,3}\s\d")]
    public void Syntax_is_translated(string oniguruma, string expected)
    {
        Assert.Equal(expected, OnigurumaSyntax.Translate(oniguruma));
        _ = new Regex(expected);
    }

    private static string[] Split(IWordSplitter splitter, string text)
    {
        List<TextPiece> words = [];
        if (text.Length != 0)
        {
            splitter.Split(text, words);
        }

        return [.. words.Select(word => text.Substring(word.Start, word.Length))];
    }
}
