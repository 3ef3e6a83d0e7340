using System.Text;
using System.Text.Json.Nodes;
using KernelGen.Inference.Tokenization;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>What normalizers do to a text before it is cut.</summary>
public sealed class NormalizerTests
{
    [Theory]
    [InlineData("e\u0301", "\u00e9", "e\u0301")]
    // Marks are ordered by class before they compose: the cedilla (202) goes before the acute (230).
    [InlineData("e\u0301\u0327", "\u0229\u0301", "e\u0327\u0301")]
    // Equal classes block: only the first of two acutes composes.
    [InlineData("e\u0301\u0301", "\u00e9\u0301", "e\u0301\u0301")]
    // A singleton and an excluded composite do not come back.
    [InlineData("\u212b", "\u00c5", "A\u030a")]
    [InlineData("\u0958", "\u0915\u093c", "\u0915\u093c")]
    // Hangul, computed: leading consonant, vowel, trailing consonant.
    [InlineData("\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab")]
    [InlineData("\uac00", "\uac00", "\u1100\u1161")]
    // Two levels, and beyond the Basic Multilingual Plane.
    [InlineData("\u1e69", "\u1e69", "s\u0323\u0307")]
    [InlineData("\ud834\udd5e", "\ud834\udd57\ud834\udd65", "\ud834\udd57\ud834\udd65")]
    [InlineData("\ud804\udc99\ud804\udcba", "\ud804\udc9a", "\ud804\udc99\ud804\udcba")]
    // Two starters that compose; and one that a starter between blocks.
    [InlineData("\u09c7\u09be", "\u09cb", "\u09c7\u09be")]
    [InlineData("plain ASCII, \ufb01", "plain ASCII, \ufb01", "plain ASCII, \ufb01")]
    public void Canonical_forms_are_those_of_the_standard(string text, string composed, string decomposed)
    {
        Assert.Equal(composed, CanonicalForms.Compose(text));
        Assert.Equal(decomposed, CanonicalForms.Decompose(text));
        Assert.Equal(composed, CanonicalForms.Compose(decomposed));
        Assert.Equal(composed, CanonicalForms.Compose(composed));
    }

    [Fact]
    public void Every_character_has_one_composed_and_one_decomposed_form()
    {
        int changed = 0;
        for (int value = 0x80; value <= 0x10FFFF; value++)
        {
            if (!Rune.IsValid(value))
            {
                continue;
            }

            string text = new Rune(value).ToString();
            string decomposed = CanonicalForms.Decompose(text);
            string composed = CanonicalForms.Compose(text);
            Assert.Equal(decomposed, CanonicalForms.Decompose(composed));
            Assert.Equal(composed, CanonicalForms.Compose(decomposed));
            changed += decomposed == text ? 0 : 1;
        }

        // 2,061 in the tables and 11,172 syllables.
        Assert.Equal(13_233, changed);
    }

    [Theory]
    [InlineData("""{"type":"NFC"}""", "e\u0301<x>", "\u00c3|\u00a9|<x>")]
    [InlineData("""{"type":"NFD"}""", "\u00e9", "e|\u00cc|\u0123")]
    [InlineData("""{"type":"Lowercase"}""", "ABC", "a|b|c")]
    [InlineData("""{"type":"Strip","strip_left":true,"strip_right":false}""", "  a ", "a|\u0120")]
    [InlineData("""{"type":"Strip","strip_left":false,"strip_right":true}""", " a  ", "\u0120|a")]
    [InlineData("""{"type":"Strip","strip_left":true,"strip_right":true}""", "   ", "")]
    [InlineData("""{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"-"}""", "a   b c", "a|-|b|\u0120|c")]
    [InlineData("""{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"b"},{"type":"Replace","pattern":{"String":"ba"},"content":"c"}]}""", "aa", "c|a")]
    public void Text_is_normalized_before_it_is_cut(string normalizer, string text, string expected)
    {
        JsonObject json = SmallTokenizer.Json().WithAdded(256, "<x>");
        json["normalizer"] = JsonNode.Parse(normalizer);
        Assert.Equal(expected, SmallTokenizer.Load(json).Tokens(text));
    }

    [Fact]
    public void A_normalized_added_token_is_looked_for_in_its_normalized_form()
    {
        JsonObject json = SmallTokenizer.Json().WithAdded(256, "ABC", "normalized").WithAdded(257, "DEF");
        json["normalizer"] = JsonNode.Parse("""{"type":"Lowercase"}""");
        Assert.Equal("ABC|ABC|d|e|f|DEF", SmallTokenizer.Load(json).Tokens("aBcABCdefDEF"));
    }

    [Fact]
    public void Normalizers_that_make_a_text_grow_without_measure_are_ended()
    {
        JsonObject json = SmallTokenizer.Json();
        JsonArray steps = [.. Enumerable.Range(0, 12).Select(_ => JsonNode.Parse($$"""{"type":"Replace","pattern":{"String":"a"},"content":"{{new string('a', 200)}}"}"""))];
        json["normalizer"] = new JsonObject { ["type"] = "Sequence", ["normalizers"] = steps };
        Tokenizer tokenizer = SmallTokenizer.Load(json);
        Assert.Contains("times as long", Assert.Throws<TokenizerException>(() => tokenizer.Encode("aaaa")).Message, StringComparison.Ordinal);
    }
}
