using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Tokenization;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

public sealed class TokenizerRoundTripTests
{
    private static readonly Tokenizer Bundled = Tokenizer.Load(RepositoryPaths.Model("opt-1.5m"));

    /// <summary>Any Unicode text: of all planes, with white space and pieces that look like tokens.</summary>
    private static readonly Gen<string> UnicodeText = Gen.OneOf(
            Gen.Choose(0, 0x10FFFF).Where(static value => Rune.IsValid(value)).Select(static value => new Rune(value).ToString()),
            Gen.Choose(0x20, 0x7E).Select(static value => ((char)value).ToString()),
            Gen.Elements(" ", "  ", "\n", "the", " of", "<s>", "</s>", "<pad", "'ll", "\u0120", "\ud83d\ude00", "\u0000"))
        .ListOf().Select(static pieces => string.Concat(pieces));

    /// <summary>Any sequence of UTF-16 units, halves of surrogate pairs among them.</summary>
    private static readonly Gen<string> AnyUnits = Gen.OneOf(Gen.Choose(0, 0xFFFF), Gen.Choose(0xD7FE, 0xE001))
        .Select(static value => (char)value).ListOf().Select(static characters => string.Concat(characters));

    [Property(MaxTest = 2000)]
    public Property Any_text_comes_back() => Prop.ForAll(
        UnicodeText.ToArbitrary(), static text => Bundled.Decode(Bundled.Encode(text), skipSpecialTokens: false) == text);

    [Property(MaxTest = 2000)]
    public Property Halves_of_surrogate_pairs_come_back_as_replacement_characters() => Prop.ForAll(
        AnyUnits.ToArbitrary(),
        static text => Bundled.Decode(Bundled.Encode(text), skipSpecialTokens: false) == Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)));

    [Property(MaxTest = 2000)]
    public Property Streamed_decoding_of_any_ids_equals_decoding_at_once() => Prop.ForAll(
        Gen.Choose(-2, Bundled.VocabularySize + 2).ArrayOf().ToArbitrary(),
        static ids =>
        {
            foreach (bool skip in (bool[])[true, false])
            {
                StreamingDecoder decoder = Bundled.CreateStreamingDecoder(skip);
                string streamed = string.Concat(ids.Select(decoder.Append)) + decoder.Flush();
                if (streamed != Bundled.Decode(ids, skip))
                {
                    return false;
                }
            }

            return true;
        });

    [Fact]
    public void A_character_appears_only_when_its_last_byte_is_there()
    {
        Tokenizer tokenizer = SmallTokenizer.Load(SmallTokenizer.Json());
        StreamingDecoder decoder = tokenizer.CreateStreamingDecoder();

        // The four bytes of U+1F600, each a token.
        Assert.Equal(["", "", "", "\ud83d\ude00"], ((int[])[0xF0, 0x9F, 0x98, 0x80]).Select(decoder.Append));
        Assert.Equal("", decoder.Flush());
        Assert.Equal("", decoder.Append(0xE2));
        Assert.Equal("\ufffd", decoder.Flush());
        Assert.Equal("a", decoder.Append('a'));
    }

    [Fact]
    public async Task Threads_share_one_tokenizer()
    {
        string text = File.ReadAllText(Path.Combine(RepositoryPaths.Model("opt-1.5m"), "text.txt"))[..40_000];
        Tokenizer tokenizer = Tokenizer.Load(RepositoryPaths.Model("opt-1.5m"));
        int[] expected = Bundled.Encode(text);

        int[][] results = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => tokenizer.Encode(text))));

        Assert.All(results, ids => Assert.Equal(expected, ids));
    }

    [Fact]
    public void A_text_that_fills_the_cache_is_still_encoded_right()
    {
        // More different words than are kept; then words seen before the cache was full, and after.
        Tokenizer tokenizer = SmallTokenizer.Load(SmallTokenizer.Json("1 2", "12 3"));
        string text = string.Join(' ', Enumerable.Range(0, 80_000));

        Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
        Assert.Equal("123|\u0120|123", tokenizer.Tokens("123 123"));
        Assert.Equal("7|9|123|9", tokenizer.Tokens("791239"));
    }

    [Fact]
    public void A_long_text_without_any_space_is_encoded_in_little_time()
    {
        string text = new('a', 1_000_000);
        Assert.Equal(text, Bundled.Decode(Bundled.Encode(text)));
    }
}
