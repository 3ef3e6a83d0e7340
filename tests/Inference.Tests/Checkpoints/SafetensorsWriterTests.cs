using System.Buffers.Binary;
using System.Collections.Immutable;
using KernelGen.Inference.Checkpoints;
using Xunit;

namespace KernelGen.Inference.Tests.Checkpoints;

public sealed class SafetensorsWriterTests
{
    private static readonly ImmutableArray<long> Four = [4];

    [Fact]
    public void Every_type_goes_out_and_comes_back_aligned_whatever_the_order_of_writing()
    {
        using TemporaryFolder folder = new();
        string path = folder.At("out.safetensors");
        TensorType[] types = Enum.GetValues<TensorType>();
        Random random = new(17);
        Dictionary<string, byte[]> values = [];
        foreach (TensorType type in types)
        {
            Assert.True(TensorTypes.TryMeasure(type, [4], out _, out long bytes));
            random.NextBytes(values[$"tensor \"{type}\" \u00e9\ud83d\ude00"] = new byte[bytes]);
        }

        using (SafetensorsWriter writer = new(path, values.Keys.Select((name, i) => (name, types[i], Four)), new Dictionary<string, string> { ["format"] = "pt" }))
        {
            // In turns and in pieces.
            foreach ((string name, byte[] bytes) in values)
            {
                writer.Append(name, bytes.AsSpan(0, bytes.Length / 2));
            }

            foreach ((string name, byte[] bytes) in values.Reverse())
            {
                writer.Append(name, bytes.AsSpan(bytes.Length / 2));
            }

            writer.Complete();
        }

        Assert.Equal([path], Directory.GetFiles(folder.Root));
        using Checkpoint checkpoint = Checkpoint.Open(path);
        Assert.Equal(types.Length, checkpoint.Tensors.Count);
        foreach ((string name, byte[] bytes) in values)
        {
            Assert.Equal(bytes, checkpoint.Get(name).Span<byte>().ToArray());
            Assert.Equal(0, checkpoint.Tensors[name].Offset % Math.Max(1, checkpoint.Tensors[name].Type.BitWidth() / 8));
        }

        byte[] file = File.ReadAllBytes(path);
        Assert.Equal(0UL, BinaryPrimitives.ReadUInt64LittleEndian(file) % 8);
    }

    [Fact]
    public void The_name_appears_only_when_the_file_is_complete_and_an_old_file_stays_until_then()
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("out.safetensors", "old");
        using (SafetensorsWriter abandoned = new(path, [("a", TensorType.U8, Four)]))
        {
            abandoned.Append("a", [1, 2]);
            Assert.Equal("old", File.ReadAllText(path));
            string message = Assert.Throws<InvalidOperationException>(abandoned.Complete).Message;
            Assert.Contains("'a', 2 of 4 bytes", message);
        }

        Assert.Equal([path], Directory.GetFiles(folder.Root));
        Assert.Equal("old", File.ReadAllText(path));

        using SafetensorsWriter writer = new(path, [("a", TensorType.U8, Four)]);
        writer.Append("a", [1, 2, 3, 4]);
        writer.Complete();
        Assert.Throws<ObjectDisposedException>(() => writer.Append("a", []));
        using Checkpoint checkpoint = Checkpoint.Open(path);
        Assert.Equal([1, 2, 3, 4], checkpoint.Get("a").Span<byte>().ToArray());
    }

    [Fact]
    public void Mistakes_of_the_caller_are_refused_before_anything_is_written()
    {
        using TemporaryFolder folder = new();
        string path = folder.At("out.safetensors");
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(path, [("a", TensorType.U8, Four), ("a", TensorType.U8, Four)]));
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(path, [("__metadata__", TensorType.U8, Four)]));
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(path, [("a", TensorType.U8, [-1])]));
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(path, [("a", TensorType.F32, [long.MaxValue, 2])]));
        Assert.Throws<ArgumentException>(() => new SafetensorsWriter(path, [("a", TensorType.F4, [3])]));
        Assert.Empty(Directory.GetFiles(folder.Root));

        using SafetensorsWriter writer = new(path, [("a", TensorType.U8, Four)]);
        Assert.Throws<ArgumentException>(() => writer.Append("b", [1]));
        Assert.Throws<ArgumentException>(() => writer.Append("a", [1, 2, 3, 4, 5]));
    }
}
