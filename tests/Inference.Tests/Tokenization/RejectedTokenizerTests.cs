using System.Text.Json.Nodes;
using KernelGen.Inference.Tokenization;
using KernelGen.Tests;
using Xunit;
using Xunit.Abstractions;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>Tokenizer files that contradict themselves or use what is not implemented; and ten thousands of mutated ones.</summary>
public sealed class RejectedTokenizerTests(ITestOutputHelper output)
{
    public static TheoryData<string, string, string> Changes => new()
    {
        // path in the file, JSON to put there (empty: remove), what the message must say
        { "model", "", "'model' is missing" },
        { "model", "[]", "'model' is missing or not a JSON Object" },
        { "model.type", "\"Unigram\"", "model 'Unigram' is not supported" },
        { "model.type", "7", "'model.type' is 7, a string was expected" },
        { "model.vocab", "[]", "'vocab' is missing or not" },
        { "model.vocab.a", "-1", "token 'a' has the id -1" },
        { "model.vocab.a", "4294967296", "token 'a' has the id 4294967296" },
        { "model.vocab.a", "\"97\"", "token 'a' has the id \"97\"" },
        { "model.vocab.a", "98", "'b' and 'a' have the same id 98" },
        { "model.merges", "", "'merges' is missing" },
        { "model.merges", "[[\"a\",\"zz\"]]", "merges[0] needs the token 'zz'" },
        { "model.merges", "[[\"a\",\"b\"],[\"a\",\"c\"]]", "merges[1] needs the token 'ac'" },
        { "model.merges", "[[\"a\"]]", "merges[0] is [\"a\"], two tokens were expected" },
        { "model.merges", "[\"a b c\"]", "merges[0] is \"a b c\", two tokens were expected" },
        { "model.merges", "[7]", "merges[0] is 7" },
        { "model.unk_token", "\"<unk>\"", "unk_token '<unk>' is not in the vocabulary" },
        { "model.continuing_subword_prefix", "\"##\"", "continuing_subword_prefix = ##" },
        { "model.end_of_word_suffix", "\"</w>\"", "end_of_word_suffix = </w>" },
        { "model.dropout", "0.1", "dropout = 0.1" },
        { "model.byte_fallback", "true", "byte_fallback = true with a ByteLevel pre_tokenizer" },
        { "model.ignore_merges", "1", "'ignore_merges' is 1, true or false was expected" },
        { "normalizer", """{"type":"NFKC"}""", "normalizer 'NFKC' is not supported" },
        { "normalizer", """{"type":"Sequence","normalizers":[{"type":"BertNormalizer"}]}""", "normalizer 'BertNormalizer' is not supported" },
        { "normalizer", """{"type":"Prepend"}""", "'prepend' is missing" },
        { "normalizer", """{"type":"Replace","pattern":{"String":""},"content":"x"}""", "a normalizer has an empty pattern" },
        { "normalizer", """{"type":"Replace","pattern":{"Regex":"a++"},"content":"x"}""", "pattern 'a++' (" },
        { "normalizer", "{\"type\":\"Prepend\",\"prepend\":\"" + new string('x', 300) + "\"}", "'prepend' has 300 characters" },
        { "pre_tokenizer", """{"type":"Whitespace"}""", "pre_tokenizer 'Whitespace' is not supported" },
        { "pre_tokenizer", """{"type":"Metaspace","prepend_scheme":"last"}""", "prepend_scheme = last" },
        { "pre_tokenizer", """{"type":"Metaspace","replacement":"__"}""", "'replacement' is not one character" },
        { "pre_tokenizer", """{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]}""", "Digits behind ByteLevel" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated"}""", "'pattern' is missing" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Doubled","pattern":{"String":"a"}}""", "behavior = Doubled" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"^a"}}""", "an anchor at character 1 of 2" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"\\p{Han}"}}""", "no general category" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"\\bx"}}""", "an escape of this kind" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(?<n>x)"}}""", "a group of this kind" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"[a&&b]"}}""", "an intersection of sets" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"[[:alpha:]]"}}""", "a POSIX class" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"[a[^b]]"}}""", "a negated set within a set" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"[a-[b]]"}}""", "a set as the end of a range" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"[]"}}""", "empty or not closed" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"a{,3}"}}""", "a brace that is no repetition" },
        { "pre_tokenizer", """{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a"}}""", "pattern '(a' (" },
        { "pre_tokenizer", """{"type":"Sequence"}""", "Sequence without a list" },
        { "pre_tokenizer", "\"ByteLevel\"", "an object with a type was expected" },
        { "decoder", "null", "decoder '(none)' is not supported" },
        { "decoder", """{"type":"WordPiece"}""", "decoder 'WordPiece' is not supported" },
        { "decoder", """{"type":"Strip","content":" ","start":1,"stop":0}""", "decoder 'Strip' is not supported" },
        { "decoder", """{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":1}]}""", "Strip at this place" },
        { "decoder", """{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]}""", "ByteFallback at this place" },
        { "decoder", """{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":-1}]}""", "'start' is -1" },
        { "post_processor", """{"type":"BertProcessing"}""", "post_processor 'BertProcessing' is not supported" },
        { "post_processor", """{"type":"RobertaProcessing","cls":["a",97]}""", "'sep' is missing" },
        { "post_processor", """{"type":"RobertaProcessing","sep":["a"],"cls":["a",97]}""", "'sep' is [\"a\"], a token and its id" },
        { "post_processor", """{"type":"RobertaProcessing","sep":["a",97],"cls":["<s>",5000]}""", "'<s>' has the id 5000, which no token has" },
        { "post_processor", """{"type":"TemplateProcessing","single":[],"special_tokens":{}}""", "leaves the text A out" },
        { "post_processor", """{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B"}}],"special_tokens":{}}""", "the template has" },
        { "post_processor", """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],"special_tokens":{}}""", "'<s>' is not in its special_tokens" },
        { "post_processor", """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],"special_tokens":{"<s>":{"ids":[5000]}}}""", "id 5000, which no token has" },
        { "added_tokens", "{}", "'added_tokens' is missing or not a JSON Array" },
        { "added_tokens", "[7]", "an added token is 7" },
        { "added_tokens", """[{"id":97,"content":"<x>"}]""", "'a' and '<x>' have the same id 97" },
        { "added_tokens", """[{"id":300,"content":"a"}]""", "token 'a' has the ids 97 and 300" },
        { "added_tokens", """[{"id":300,"content":"<x>"},{"id":301,"content":"<x>"}]""", "token '<x>' has the ids 300 and 301" },
        { "added_tokens", """[{"id":300,"content":"<x>"},{"id":300,"content":"<y>"}]""", "'<x>' and '<y>' have the same id 300" },
        { "added_tokens", """[{"id":-5,"content":"<x>"}]""", "token '<x>' has the id -5" },
        { "added_tokens", """[{"id":300,"content":"<x>","lstrip":"yes"}]""", "'lstrip' is \"yes\"" },
        { "added_tokens", """[{"id":300,"content":7}]""", "'added_tokens.content' is 7" },
        { "added_tokens", "[{\"id\":300,\"content\":\"" + new string('x', 2000) + "\"}]", "longer than 1024 characters" },
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void A_file_that_is_wrong_or_not_supported_is_refused_and_says_where(string path, string value, string expected)
    {
        JsonObject json = SmallTokenizer.Json("a b");
        string[] keys = path.Split('.');
        JsonObject parent = keys[..^1].Aggregate(json, static (node, key) => node[key]!.AsObject());
        parent.Remove(keys[^1]);
        if (value.Length != 0)
        {
            parent[keys[^1]] = JsonNode.Parse(value);
        }

        string message = Assert.Throws<TokenizerException>(() => SmallTokenizer.Load(json)).Message;

        Assert.Contains(expected, message);
        Assert.Contains("tokenizer.json", message);
        Assert.True(message.Length < 2000, message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("{\"model\":{\"type\":\"\\ud800\"}}")]
    [InlineData("{\"model\":1,\"model\":2}")]
    public void A_file_that_is_no_json_object_is_refused(string content)
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("tokenizer.json", content);

        Assert.Contains(path, Assert.Throws<TokenizerException>(() => Tokenizer.Load(folder.Root)).Message);
    }

    [Fact]
    public void Depth_is_refused()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", "{\"model\":" + new string('[', 1_000_000));
        Assert.Contains("not valid JSON", Assert.Throws<TokenizerException>(() => Tokenizer.Load(folder.Root)).Message);
    }

    [Fact]
    public void A_missing_file_is_refused_with_a_remedy()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("save_pretrained", Assert.Throws<TokenizerException>(() => Tokenizer.Load(folder.Root)).Message);
        Assert.Contains("cannot be read", Assert.Throws<TokenizerException>(() => Tokenizer.Load(folder.At("none.json"))).Message);
    }

    public static TheoryData<string> Kinds => ["bytes", "sentencepiece", "llama3", "files"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Mutated_files_load_or_are_refused(string kind)
    {
        JsonMutator mutator = new(seed: 20260104);
        using TemporaryFolder folder = new();
        string name = "tokenizer.json";
        JsonObject json = kind switch
        {
            "sentencepiece" => SentencePieceTests.Llama2("\u2581 a", "a b"),
            "llama3" => PatternTests.WithSplit(PatternTests.Llama3, "Isolated"),
            _ => SmallTokenizer.Json("a b", "ab c", "\u0120 t", "h e", "\u0120t he").WithAdded(400, "<s>", "special lstrip").WithAdded(401, "<mask>", "single_word"),
        };

        // The tokens of single bytes make most of the file: without most of them mutations fall on what matters.
        JsonObject vocabulary = json["model"]!["vocab"]!.AsObject();
        foreach (string token in vocabulary.Select(static entry => entry.Key).Where(static t => t[0] > '\u00a0' && t != "\u0120" && t[0] != '\u2581').ToArray())
        {
            if (token.Length == 1)
            {
                vocabulary.Remove(token);
            }
        }

        if (kind == "bytes")
        {
            json["post_processor"] = JsonNode.Parse("""
                {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
                "special_tokens":{"<s>":{"id":"<s>","ids":[400],"tokens":["<s>"]}}}
                """);
        }
        else if (kind == "files")
        {
            folder.Write("vocab.json", vocabulary.ToJsonString());
            folder.Write("merges.txt", "#version: 0.2\na b\nab c\n");
            name = "tokenizer_config.json";
            json = JsonNode.Parse("""
                {"tokenizer_class":"GPT2Tokenizer","add_bos_token":true,"add_prefix_space":false,
                "bos_token":{"content":"ab","lstrip":false,"normalized":true},"eos_token":"abc","unk_token":"he","pad_token":null}
                """)!.AsObject();
        }

        byte[] source = System.Text.Encoding.UTF8.GetBytes(json.ToJsonString());
        (int accepted, int refused) = (0, 0);
        for (int i = 0; i < 10_000; i++)
        {
            folder.Write(name, mutator.Mutate(source));
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                Tokenizer tokenizer = Tokenizer.Load(folder.Root);
                int[] ids = tokenizer.Encode("abc the <s> <mask> \u00e9\ud800 12", addSpecialTokens: true);
                Assert.True(tokenizer.Decode(ids, skipSpecialTokens: false).Length < 10_000);
                accepted++;
            }
            catch (TokenizerException exception)
            {
                Assert.True(exception.Message.Length < 2_000, exception.Message);
                refused++;
            }

            Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 8 << 20, $"round {i} allocated too much");
        }

        output.WriteLine($"{kind}: {accepted} accepted, {refused} refused");
        Assert.True(accepted > 100 && refused > 100, "the mutations all end the same way");
    }
}
