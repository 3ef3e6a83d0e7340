using System.Text.Json.Nodes;
using KernelGen.Inference.Tokenization;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>Folders from before tokenizer.json: vocab.json and merges.txt.</summary>
public sealed class VocabularyFilesTests
{
    [Fact]
    public void The_bundled_model_has_the_same_tokens_from_its_older_files()
    {
        string bundled = RepositoryPaths.Model("opt-1.5m");
        using TemporaryFolder folder = new();
        foreach (string name in (string[])["vocab.json", "merges.txt"])
        {
            File.Copy(Path.Combine(bundled, name), folder.At(name));
        }

        folder.Write("special_tokens_map.json", """{"bos_token": "<s>", "eos_token": "</s>", "pad_token": {"content": "<pad>", "normalized": true}}""");
        Tokenizer expected = Tokenizer.Load(bundled);
        Tokenizer actual = Tokenizer.Load(folder.Root);
        string text = File.ReadAllText(Path.Combine(bundled, "text.txt"))[..100_000] + "</s><s><pad>";
        Assert.Equal(expected.Encode(text), actual.Encode(text));
        Assert.Equal(expected.VocabularySize, actual.VocabularySize);
    }

    [Fact]
    public void The_config_says_what_begins_a_text()
    {
        // OPT begins texts with what else ends them.
        using TemporaryFolder folder = Files("""
            {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "bos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": false},
            "eos_token": "</s>", "unk_token": null, "pad_token": "<pad>"}
            """);
        folder.Write("added_tokens.json", """{"<extra>": 302}""");
        Tokenizer tokenizer = Tokenizer.Load(folder.Root);
        Assert.Equal("</s>|ab|<pad>|<extra>", tokenizer.Tokens("ab<pad><extra>", addSpecialTokens: true));
        Assert.Equal("ab", tokenizer.Tokens("ab"));
        Assert.Equal("ab<extra>", tokenizer.Decode(tokenizer.Encode("ab<pad><extra>", addSpecialTokens: true)));
    }

    [Fact]
    public void Without_a_config_it_is_gpt2()
    {
        using TemporaryFolder folder = Files(null);
        Tokenizer tokenizer = Tokenizer.Load(folder.Root);
        Assert.Equal("<|endoftext|>|\u0120|ab", tokenizer.Tokens("<|endoftext|> ab", addSpecialTokens: true));
        Assert.Equal(" ab", tokenizer.Decode(tokenizer.Encode("<|endoftext|> ab")));
    }

    [Fact]
    public void A_prefix_space_is_added_where_the_config_says_so()
    {
        using TemporaryFolder folder = Files("""{"add_prefix_space": true}""");
        Assert.Equal("\u0120|ab", Tokenizer.Load(folder.Root).Tokens("ab"));
    }

    [Theory]
    [InlineData("""{"tokenizer_class": "BertTokenizer"}""", "not for 'BertTokenizer', which needs tokenizer.json")]
    [InlineData("""{"bos_token": "<bos>"}""", "'bos_token' is '<bos>', which is not in vocab.json")]
    [InlineData("""{"bos_token": 7}""", "'bos_token' is 7, a string was expected")]
    [InlineData("""{"bos_token": {}}""", "'content' is missing")]
    [InlineData("""{"bos_token": "</s>", "add_bos_token": 1}""", "'add_bos_token' is 1, true or false")]
    [InlineData("""{"eos_token": "</s>", "add_bos_token": true}""", "there is no token '<|endoftext|>'")]
    [InlineData("[]", "not a JSON object")]
    [InlineData("{", "not valid JSON")]
    public void A_config_that_does_not_fit_is_refused_naming_file_and_key(string config, string expected)
    {
        using TemporaryFolder folder = Files(config);
        TokenizerException error = Assert.Throws<TokenizerException>(() => Tokenizer.Load(folder.Root));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer_config.json", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Files_that_contradict_each_other_are_refused()
    {
        using TemporaryFolder folder = Files(null);
        folder.Write("merges.txt", "#version: 0.2\na zz\n");
        Assert.Contains("merges[0] needs the token 'zz'", Assert.Throws<TokenizerException>(() => Tokenizer.Load(folder.Root)).Message, StringComparison.Ordinal);
        File.Delete(folder.At("merges.txt"));
        Assert.Contains("vocab.json with merges.txt", Assert.Throws<TokenizerException>(() => Tokenizer.Load(folder.Root)).Message, StringComparison.Ordinal);
    }

    private static TemporaryFolder Files(string? config)
    {
        TemporaryFolder folder = new();
        JsonObject vocabulary = SmallTokenizer.Json("a b")["model"]!["vocab"]!.AsObject();
        vocabulary["</s>"] = 299;
        vocabulary["<pad>"] = 300;
        vocabulary["<|endoftext|>"] = 301;
        folder.Write("vocab.json", vocabulary.ToJsonString());
        folder.Write("merges.txt", "#version: 0.2\r\na b\r\n");
        if (config is not null)
        {
            folder.Write("tokenizer_config.json", config);
        }

        return folder;
    }
}
