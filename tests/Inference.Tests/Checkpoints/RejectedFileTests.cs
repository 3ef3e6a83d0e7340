using KernelGen.Inference.Checkpoints;
using Xunit;

namespace KernelGen.Inference.Tests.Checkpoints;

/// <summary>Damaged and hostile safetensors files: each is refused with a message that names the file and what is wrong in it.</summary>
public sealed class RejectedFileTests
{
    public static TheoryData<string, int, string> Headers => new()
    {
        // header, bytes of values, what the message must say
        { "", 0, "0 bytes" },
        { "null", 0, "does not begin with '{'" },
        { " {}", 0, "does not begin with '{'" },
        { "[]", 0, "does not begin with '{'" },
        { "{ ", 0, "not valid JSON" },
        { "{}x", 0, "not valid JSON" },
        { "{} {}", 0, "not valid JSON" },
        { """{"a":1}""", 0, "tensor 'a': its description is a JSON Number" },
        { """{"a":{}}""", 0, "tensor 'a': its dtype is missing" },
        { """{"a":{"dtype":"F32","data_offsets":[0,4]}}""", 4, "tensor 'a': its shape is missing" },
        { """{"a":{"dtype":"F32","shape":[1]}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":{"begin":0}}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,"4"]}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.5,4]}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551615,4]}}""", 4, "tensor 'a': its data_offsets" },
        { """{"a":{"dtype":"F32","shape":"1","data_offsets":[0,4]}}""", 4, "tensor 'a': its shape" },
        { """{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "tensor 'a': its shape" },
        { """{"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}""", 4, "tensor 'a': its shape" },
        { """{"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,4]}}""", 4, "[9223372036854775807, 2]" },
        { """{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}""", 0, "[4611686018427387904]" },
        { """{"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}""", 0, "[4294967296, 4294967296, 0]" },
        { """{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}""", 2, "no size in whole bytes" },
        { """{"a":{"dtype":"float32","shape":[1],"data_offsets":[0,4]}}""", 4, "its dtype 'float32' is unknown" },
        { """{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}""", 4, "its dtype is a JSON Number" },
        { """{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "'dtype' is given twice" },
        { """{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}""", 4, "'shape' is given twice" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4, "data_offsets [4, 0]" },
        { """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "data_offsets [0, 4] do not fit shape [2] of F32, which takes 8 bytes" },
        { """{"a":{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}}""", 1, "out of range" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "leaves a gap" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}}""", 7, "tensor 'b': data_offsets [3, 7]: it overlaps" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}""", 4, "overlaps" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}}""", 9, "tensor 'b': data_offsets [5, 9]: it leaves a gap" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}""", 8, "tensor 'a': the header lists it twice" },
        { """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"\u0061":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}""", 8, "tensor 'a': the header lists it twice" },
        { """{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}""", 12, "truncated" },
        { """{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}""", 17, "the tensors end at byte" },
        { """{"__metadata__":{"format":1}}""", 0, "'__metadata__' is not an object of strings" },
        { """{"__metadata__":[]}""", 0, "'__metadata__' is not an object of strings" },
        { """{"__metadata__":{},"__metadata__":{}}""", 0, "'__metadata__' twice" },
        { """{"\ud800":{}}""", 0, "not valid JSON" },
        { """{"a":{"x":""" + new string('[', 100_000), 0, "not valid JSON" },
    };

    [Theory]
    [MemberData(nameof(Headers))]
    public void A_header_that_is_not_valid_is_refused(string header, int valueBytes, string expected)
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("model.safetensors", SafetensorsBytes.File(header, valueBytes));

        string message = Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message;

        Assert.Contains(path, message);
        if (header.Length != 0)
        {
            Assert.Contains(expected, message);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(9)]
    public void A_file_shorter_than_any_header_is_refused(int length)
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("model.safetensors", new byte[length]);

        Assert.Contains($"has {length} bytes", Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message);
    }

    [Theory]
    [InlineData(99UL, "only 2 follow")]
    [InlineData(100_000_001UL, "the limit is 100000000")]
    [InlineData(ulong.MaxValue, "the limit is 100000000")]
    [InlineData(0x8000_0000_0000_0000UL, "the limit is 100000000")]
    public void A_header_longer_than_the_file_is_refused(ulong claimed, string expected)
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("model.safetensors", SafetensorsBytes.File("{}", 0, claimed));

        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message);
    }

    [Fact]
    public void A_header_that_is_not_utf8_is_refused()
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("model.safetensors", SafetensorsBytes.File([(byte)'{', (byte)'"', 0xC3, 0x28, (byte)'"', (byte)':', (byte)'1', (byte)'}'], []));

        Assert.Contains("not valid JSON", Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message);
    }

    [Theory]
    [InlineData("PK\u0003\u0004\0\0\u0008\u0008 archive/data.pkl", "pickle")]
    [InlineData("GGUF\u0003\0\0\0\u0001 general", "GGUF")]
    [InlineData("version https://git-lfs.github.com/spec/v1", "git lfs pull")]
    public void Another_format_under_the_name_of_safetensors_is_named(string content, string expected)
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("model.safetensors", content);

        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message);
    }

    [Fact]
    public void A_file_cut_at_any_byte_is_refused()
    {
        using TemporaryFolder folder = new();
        byte[] whole = SafetensorsBytes.Ones("a", "b");
        for (int length = 0; length < whole.Length; length++)
        {
            string path = folder.Write("model.safetensors", whole[..length]);
            Assert.Throws<CheckpointException>(() => Checkpoint.Open(path));
        }
    }

    [Fact]
    public void More_tensors_than_any_checkpoint_has_are_refused()
    {
        using TemporaryFolder folder = new();
        string header = "{" + string.Join(',', Enumerable.Range(0, SafetensorsHeader.MaxTensors + 1).Select(
            static i => $$"""
                "{{i}}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}
                """)) + "}";
        string path = folder.Write("model.safetensors", SafetensorsBytes.File(header, 0));

        Assert.Contains("more than 200000 tensors", Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message);
    }

    [Fact]
    public void A_hostile_name_cannot_flood_or_forge_the_message()
    {
        using TemporaryFolder folder = new();
        string name = "\\u001b[31m\\n" + new string('x', 100_000);
        string path = folder.Write("model.safetensors", SafetensorsBytes.File("{\"" + name + "\":{}}", 0));

        string message = Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message;

        Assert.True(message.Length < 1000, "the message is flooded");
        Assert.DoesNotContain(message, char.IsControl);
    }

    [Fact]
    public void What_the_JSON_reader_says_cannot_flood_the_message()
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("model.safetensors", SafetensorsBytes.File("{\"a\":fals" + new string('x', 1_000_000), 0));

        string message = Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message;

        Assert.Contains("line 1, byte", message);
        Assert.True(message.Length < 1000, "the message is flooded");
    }
}
