using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Tokenization;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>Holds the hand-written scanner against the pattern itself, where .NET's regular expressions can match it.</summary>
public sealed class WordSplitterTests
{
    private static readonly Regex Pattern = new(
        @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", RegexOptions.CultureInvariant);

    [Theory]
    [InlineData("", "")]
    [InlineData("Hello, world!", "Hello|,| world|!")]
    [InlineData("I'll we've they're it's he'd don't I'm", "I|'ll| we|'ve| they|'re| it|'s| he|'d| don|'t| I|'m")]
    [InlineData("IT'S ''s 'x", "IT|'|S| ''|s| '|x")]
    [InlineData("a  b   c", "a| | b|  | c")]
    [InlineData("a \n b\n\nc\n", "a| \n| b|\n|\n|c|\n")]
    [InlineData("  ", "  ")]
    [InlineData("x1y22 33", "x|1|y|22| 33")]
    [InlineData("\u00e9t\u00e9\u00a0\u4e2d\u6587\u3000\u0663", "\u00e9t\u00e9|\u00a0|\u4e2d\u6587|\u3000|\u0663")]
    // Beyond the Basic Multilingual Plane: letters, numbers and others, which a regular expression over UTF-16 units would mistake.
    [InlineData("\ud835\udc00\ud835\udc01 \ud835\udfd8 \ud83d\ude00!", "\ud835\udc00\ud835\udc01| \ud835\udfd8| \ud83d\ude00!")]
    [InlineData("a\ud800b", "a|\ud800|b")]
    public void Words_end_where_the_pattern_ends_them(string text, string expected) => Assert.Equal(expected, string.Join('|', Split(text)));

    [Fact]
    public void Every_character_falls_into_the_class_that_the_pattern_gives_it()
    {
        for (int value = 0; value < 0x10000; value++)
        {
            if (!char.IsSurrogate((char)value))
            {
                string text = $"a{(char)value}1 {(char)value}";
                Assert.Equal(Reference(text), Split(text));
            }
        }
    }

    [Property(MaxTest = 2000)]
    public Property Any_text_is_cut_as_the_pattern_cuts_it()
    {
        Gen<string> texts = Gen.Elements([.. "aZ'strevmld  \t\n\u00a0\u200901\u0662\u00bd.,-\u00e9\u4e2d\u0301\ufffd"])
            .ListOf().Select(static characters => string.Concat(characters));
        return Prop.ForAll(texts.ToArbitrary(), static text => Reference(text).SequenceEqual(Split(text)));
    }

    private static string[] Reference(string text) => [.. Pattern.Matches(text).Select(static match => match.Value)];

    private static string[] Split(string text)
    {
        List<TextPiece> words = [];
        new Gpt2WordSplitter().Split(text, words);
        return [.. words.Select(word => text.Substring(word.Start, word.Length))];
    }
}
