using KernelGen.Inference.Checkpoints;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Inference.Tests.Checkpoints;

public sealed class ConfigReaderTests
{
    [Fact]
    public void The_bundled_config_is_read()
    {
        ConfigReader config = ConfigReader.Open(RepositoryPaths.Model("opt-1.5m"));

        Assert.Equal("opt", config.GetString("model_type"));
        Assert.Equal(128, config.GetSize("hidden_size"));
        Assert.True(config.GetBoolean("do_layer_norm_before"));
        Assert.Equal(["OPTForCausalLM"], config.GetStrings("architectures"));
        Assert.Equal(0f, config.GetSingle("dropout"));
        Assert.Equal([2], config.GetInt32List("eos_token_id"));
        Assert.Equal(7, config.GetInt32("absent", 7));
        Assert.False(config.Has("absent"));
        Assert.Null(config.GetObject("absent"));
        Assert.Empty(config.GetStrings("absent"));
    }

    [Fact]
    public void Null_counts_as_missing_and_inner_keys_are_named_in_full()
    {
        using TemporaryFolder folder = new();
        ConfigReader config = ConfigReader.Open(folder.Write("config.json", """{"a":null,"rope":{"type":7},"list":[1,2]}"""));

        Assert.False(config.GetBoolean("a", false));
        Assert.True(config.GetBoolean("a", true));
        Assert.Equal([1, 2], config.GetInt32List("list"));
        Assert.Contains("'a' is missing", Assert.Throws<CheckpointException>(() => config.GetInt32("a")).Message);
        Assert.Contains("'rope.type' is 7, a string was expected", Assert.Throws<CheckpointException>(() => config.GetObject("rope")!.GetString("type")).Message);
    }

    [Fact]
    public void A_value_of_the_wrong_kind_is_an_error_that_names_file_key_and_value()
    {
        using TemporaryFolder folder = new();
        ConfigReader config = ConfigReader.Open(folder.Write("config.json", """{"text":"8","big":4294967296,"half":0.5,"huge":1e60,"zero":0,"bad":"\ud800","list":["a",1]}"""));

        AssertNames("text", "\"8\"", () => config.GetInt32("text"));
        AssertNames("big", "4294967296", () => config.GetInt32("big", 1));
        AssertNames("half", "0.5", () => config.GetInt32("half"));
        AssertNames("huge", "1e60", () => config.GetSingle("huge"));
        AssertNames("zero", "0", () => config.GetSize("zero"));
        AssertNames("zero", "0", () => config.GetBoolean("zero", true));
        AssertNames("bad", "ud800", () => config.GetString("bad"));
        AssertNames("list", "1", () => config.GetStrings("list"));
        AssertNames("text", "\"8\"", () => config.GetInt32List("text"));
        AssertNames("text", "\"8\"", () => config.GetObject("text"));
        AssertNames("text", "\"8\"", () => throw config.Unsupported("text", "relu", "Use another."));

        void AssertNames(string key, string value, Action action)
        {
            string message = Assert.Throws<CheckpointException>(action).Message;
            Assert.Contains(config.File, message);
            Assert.Contains($"'{key}'", message);
            Assert.Contains(value, message);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{\"a\":1,\"a\":2}")]
    [InlineData("{\"a\":1,}")]
    public void A_file_that_is_no_json_object_is_refused(string content)
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("config.json", content);

        Assert.Contains(path, Assert.Throws<CheckpointException>(() => ConfigReader.Open(folder.Root)).Message);
    }

    [Fact]
    public void A_folder_without_config_is_refused()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("no config.json", Assert.Throws<CheckpointException>(() => ConfigReader.Open(folder.Root)).Message);
    }
}
