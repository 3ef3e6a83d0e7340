using KernelGen.Inference.Checkpoints;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Inference.Tests.Checkpoints;

public sealed class CheckpointReadingTests
{
    [Fact]
    public void The_bundled_model_opens_and_its_embedding_is_read_as_float32()
    {
        using Checkpoint checkpoint = Checkpoint.Open(RepositoryPaths.Model("opt-1.5m"));

        const string Name = "model.decoder.embed_tokens.weight";
        TensorInfo info = checkpoint.Tensors[Name];
        Assert.Equal(TensorType.F16, info.Type);
        Assert.Equal([2048L, 128L], info.Shape.ToArray());
        Assert.Equal(2048 * 128 * 2, info.ByteLength);

        float[] values = checkpoint.ReadSingles(Name, 2048, 128);
        MappedTensor tensor = checkpoint.Get(Name);
        ReadOnlySpan<Half> halves = tensor.Span<Half>();
        Assert.Equal(values.Length, halves.Length);
        for (int i = 0; i < values.Length; i++)
        {
            Assert.Equal((float)halves[i], values[i]);
        }

        Assert.Contains(values, static value => value != 0);
        Assert.True(tensor.Row(5).SequenceEqual(tensor.Span<byte>().Slice(5 * 256, 256)));
        Assert.True(tensor.Rows(7, 3).SequenceEqual(tensor.Span<byte>().Slice(7 * 256, 3 * 256)));
    }

    [Fact]
    public void Golden_token_ids_are_the_first_tokens_of_the_text()
    {
        string model = RepositoryPaths.Model("opt-1.5m");
        using Checkpoint golden = Checkpoint.Open(Path.Combine(model, "golden.safetensors"));

        byte[] text = File.ReadAllBytes(Path.Combine(model, "text.tokens.u16"));
        ReadOnlySpan<long> ids = golden.Get("input_ids").Span<long>();
        Assert.Equal(128, ids.Length);
        for (int i = 0; i < ids.Length; i++)
        {
            Assert.Equal(BitConverter.ToUInt16(text, i * 2), ids[i]);
        }
    }

    [SkippableFact]
    public void A_sharded_checkpoint_shows_the_tensors_of_all_its_shards()
    {
        string? model = RepositoryPaths.SharedModel("opt-30m-outliers");
        Skip.If(model is null, "needs the shared folder");
        using Checkpoint checkpoint = Checkpoint.Open(model);

        Assert.Equal(5, checkpoint.Tensors.Values.Select(static info => info.File).Distinct().Count());
        // The figures of the index's own metadata.
        Assert.Equal(29_677_568, checkpoint.Tensors.Values.Sum(static info => info.ElementCount));
        Assert.Equal(59_355_136, checkpoint.Tensors.Values.Sum(static info => info.ByteLength));
    }
}
