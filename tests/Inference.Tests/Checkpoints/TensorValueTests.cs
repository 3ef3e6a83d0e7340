using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Text;
using KernelGen.Inference.Checkpoints;
using Xunit;

namespace KernelGen.Inference.Tests.Checkpoints;

/// <summary>Values read through the mapping, and what the views refuse.</summary>
public sealed class TensorValueTests
{
    [Fact]
    public void Every_half_and_every_bfloat16_converts_exactly()
    {
        ushort[] bits = [.. Enumerable.Range(0, 65536).Select(static i => (ushort)i)];
        using TemporaryFolder folder = new();
        using (SafetensorsWriter writer = new(folder.At("t.safetensors"), [("half", TensorType.F16, [256, 256]), ("brain", TensorType.BF16, [65536])]))
        {
            writer.Append("brain", MemoryMarshal.AsBytes(bits.AsSpan()));
            writer.Append("half", MemoryMarshal.AsBytes(bits.AsSpan()));
            writer.Complete();
        }

        using Checkpoint checkpoint = Checkpoint.Open(folder.At("t.safetensors"));
        float[] halves = checkpoint.ReadSingles("half", 256, 256);
        float[] brains = checkpoint.ReadSingles("brain", 65536);
        for (int i = 0; i < bits.Length; i++)
        {
            Assert.Equal((float)BitConverter.UInt16BitsToHalf(bits[i]), halves[i]);
            Assert.Equal((uint)bits[i] << 16, BitConverter.SingleToUInt32Bits(brains[i]));
        }

        // From any element on, across the end of the vectorized part.
        float[] part = new float[21];
        checkpoint.Get("brain").CopyTo(16_000, part);
        Assert.Equal(brains[16_000..16_021], part);
    }

    [Fact]
    public void Values_that_are_not_aligned_are_read_whole()
    {
        using TemporaryFolder folder = new();
        byte[] values = [7, .. MemoryMarshal.AsBytes<float>([1.5f, -2.5f])];
        string path = folder.Write("t.safetensors", SafetensorsBytes.File(
            Encoding.UTF8.GetBytes("""{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}"""), values));

        using Checkpoint checkpoint = Checkpoint.Open(path);
        Assert.Equal([1.5f, -2.5f], checkpoint.Get("b").Span<float>().ToArray());
        Assert.Equal([1.5f, -2.5f], checkpoint.ReadSingles("b"));
        Assert.Equal(1, checkpoint.Tensors["a"].ElementCount);
    }

    [Fact]
    public void A_wrong_shape_is_an_error_that_names_both()
    {
        using TemporaryFolder folder = new();
        using Checkpoint checkpoint = Checkpoint.Open(folder.Write("t.safetensors", SafetensorsBytes.Ones("a")));

        string message = Assert.Throws<CheckpointException>(() => checkpoint.ReadSingles("a", 3, 1)).Message;
        Assert.Contains("tensor 'a': its shape is [2], [3, 1] was expected", message);
        Assert.Contains("tensor 'b': it is not among the 1 tensors", Assert.Throws<CheckpointException>(() => checkpoint.ReadSingles("b")).Message);
        Assert.Contains("a matrix was expected", Assert.Throws<CheckpointException>(() => checkpoint.Get("a").Row(0).Length).Message);
    }

    [Fact]
    public void A_type_that_cannot_be_read_is_listed_and_refused_upon_reading()
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("t.safetensors", SafetensorsBytes.File("""{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}""", 4));

        using Checkpoint checkpoint = Checkpoint.Open(path);
        Assert.Equal(TensorType.F8E4M3, checkpoint.Tensors["a"].Type);
        Assert.Contains("F8_E4M3", Assert.Throws<CheckpointException>(() => checkpoint.ReadSingles("a")).Message);
        Assert.Contains("F8_E4M3", Assert.Throws<CheckpointException>(() => checkpoint.Get("a").Span<sbyte>().Length).Message);
    }

    [Fact]
    public void A_view_on_a_disposed_checkpoint_throws()
    {
        using TemporaryFolder folder = new();
        Checkpoint checkpoint = Checkpoint.Open(folder.Write("t.safetensors", SafetensorsBytes.File(
            """{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}""", 16)));
        MappedTensor tensor = checkpoint.Get("a");
        checkpoint.Dispose();
        checkpoint.Dispose();

        Assert.Throws<ObjectDisposedException>(() => tensor.Span<float>().Length);
        Assert.Throws<ObjectDisposedException>(() => tensor.Row(0).Length);
        Assert.Throws<ObjectDisposedException>(() => tensor.CopyTo(0, new float[1]));
        Assert.Throws<ObjectDisposedException>(() => checkpoint.Get("a"));
        Assert.Throws<ObjectDisposedException>(() => checkpoint.ReadSingles("a"));
        Assert.Equal([2L, 2L], checkpoint.Tensors["a"].Shape.ToArray());
    }

    [Fact]
    public async Task Disposing_while_other_threads_copy_ends_in_an_exception_and_never_in_a_crash()
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("t.safetensors", SafetensorsBytes.File("""{"a":{"dtype":"F16","shape":[500000],"data_offsets":[0,1000000]}}""", 1_000_000));
        for (int round = 0; round < 50; round++)
        {
            Checkpoint checkpoint = Checkpoint.Open(path);
            MappedTensor tensor = checkpoint.Get("a");
            using Barrier barrier = new(2);
            Task<bool> copier = Task.Run(() =>
            {
                float[] destination = new float[500_000];
                barrier.SignalAndWait();
                try
                {
                    while (true)
                    {
                        tensor.CopyTo(0, destination);
                    }
                }
                catch (ObjectDisposedException)
                {
                    return true;
                }
            });
            barrier.SignalAndWait();
            checkpoint.Dispose();
            Assert.True(await copier);
        }
    }

    [SkippableFact]
    public void A_tensor_above_4_GB_is_read_by_rows()
    {
        Skip.If(OperatingSystem.IsWindows(), "needs a file system that stores holes as nothing");
        const long Rows = 70_000, RowBytes = 65_536;
        using TemporaryFolder folder = new();
        string path = folder.Write("t.safetensors", SafetensorsBytes.File(
            $$$"""{"a":{"dtype":"I8","shape":[{{{Rows}}},{{{RowBytes}}}],"data_offsets":[0,{{{Rows * RowBytes}}}]}}""", 0));
        using (FileStream stream = File.Open(path, FileMode.Open))
        {
            stream.SetLength(stream.Length + Rows * RowBytes);
            stream.Position = stream.Length - 2;
            stream.Write([41, 42]);
        }

        using Checkpoint checkpoint = Checkpoint.Open(path);
        MappedTensor tensor = checkpoint.Get("a");
        Assert.Equal([41, 42], tensor.Row(Rows - 1)[^2..].ToArray());
        Assert.Equal(42, tensor.Rows(Rows - 3, 3)[^1]);
        Assert.Contains("Read it by rows", Assert.Throws<CheckpointException>(() => tensor.Span<sbyte>().Length).Message);
        Assert.Contains("Read fewer rows", Assert.Throws<CheckpointException>(() => tensor.Rows(0, 40_000).Length).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.Row(Rows).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.Rows(Rows - 1, 2).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.Row(-1).Length);
    }

    [Fact]
    public void Integers_and_empty_tensors_are_seen_as_they_are()
    {
        using TemporaryFolder folder = new();
        ImmutableArray<long> three = [3];
        using (SafetensorsWriter writer = new(
            folder.At("t.safetensors"),
            [("i8", TensorType.I8, three), ("u8", TensorType.U8, three), ("i32", TensorType.I32, three), ("i64", TensorType.I64, three), ("none", TensorType.F32, [0, 5])]))
        {
            writer.Append("i8", [0xFF, 0, 1]);
            writer.Append("u8", [0xFF, 0, 1]);
            writer.Append("i32", MemoryMarshal.AsBytes<int>([-1, 0, int.MaxValue]));
            writer.Append("i64", MemoryMarshal.AsBytes<long>([-1, 0, long.MaxValue]));
            writer.Complete();
        }

        using Checkpoint checkpoint = Checkpoint.Open(folder.At("t.safetensors"));
        Assert.Equal([-1, 0, 1], checkpoint.Get("i8").Span<sbyte>().ToArray());
        Assert.Equal([255, 0, 1], checkpoint.Get("u8").Span<byte>().ToArray());
        Assert.Equal([-1, 0, int.MaxValue], checkpoint.Get("i32").Span<int>().ToArray());
        Assert.Equal([-1, 0, long.MaxValue], checkpoint.Get("i64").Span<long>().ToArray());
        Assert.Empty(checkpoint.ReadSingles("none", 0, 5));
        Assert.Equal(0, checkpoint.Get("none").Rows(0, 0).Length);
        Assert.Contains("cannot be seen as Single", Assert.Throws<CheckpointException>(() => checkpoint.Get("i32").Span<float>().Length).Message);
    }
}
