using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using Xunit;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests.Devices;

/// <summary>The processor's layers, which a GPU's residual stream passes through, are those of the model on the processor.</summary>
public class HostLayersTests
{
    [SkippableTheory]
    [InlineData("families/opt-pre-ln")]
    [InlineData("families/opt-post-ln-projected")]
    [InlineData("families/bloom")]
    [InlineData("families/gpt-neox")]
    [InlineData("families/llama-gqa")]
    public void A_part_of_the_layers_gives_the_bits_of_the_whole_model(string name)
    {
        string folder = Folder(name);
        TransformerModel model = Model(name);
        DecoderDescription description = model.Description;
        int width = description.HiddenSize, last = description.Layers.Count - 1;
        int[] first = [5, 9, 11, 2], second = [7, 1, 3, 8];

        // The streams before the last layer and before the final norm, for two texts side by side, then for a step of each.
        KeyValueCache[] caches = [model.CreateCache(16), model.CreateCache(16)];
        List<float[]> prompt = Observe(model, [.. first, .. second], caches), step = Observe(model, [4, 6], caches);
        using HostLayers layers = Load(folder, description, new LayerRange(last, 1));

        float[] stream = prompt[last];
        layers.Run(stream, [0, 1, 2, 3, 0, 1, 2, 3], [2, 2, 2, 2, 0, 0, 0, 0]);
        float[] next = [.. step[last], .. new float[width]];
        next.AsSpan(2 * width).Fill(77);
        layers.Run(next, [4, 4, DecoderRow.Inactive], [2, 0, 0]);
        Assert.All(next[(2 * width)..], static value => Assert.Equal(77, value));

        // What comes after the last layer is the final norm: normalizing both shows whether they are the same.
        Assert.Equal(prompt[last + 1], Final(folder, description, stream));
        Assert.Equal(step[last + 1], Final(folder, description, next[..(2 * width)]));
    }

    [SkippableFact]
    public void A_slots_next_text_begins_anew_and_texts_of_different_lengths_may_come_together()
    {
        const string Name = "families/llama-gqa";
        string folder = Folder(Name);
        TransformerModel model = Model(Name);
        DecoderDescription description = model.Description;
        int width = description.HiddenSize, all = description.Layers.Count;
        using HostLayers layers = Load(folder, description, new LayerRange(0, all));
        float[] old = Observe(model, [1, 2, 3], [model.CreateCache(8)])[0];
        layers.Run(old, [0, 1, 2], [0, 0, 0]);
        List<float[]> a = Observe(model, [8, 9], [model.CreateCache(8)]), b = Observe(model, [4], [model.CreateCache(8)]);
        float[] together = [.. a[0], .. b[0]];
        layers.Run(together, [0, 1, 0], [0, 0, 1]);
        Assert.Equal(a[all], Final(folder, description, together[..(2 * width)]));
        Assert.Equal(b[all], Final(folder, description, together[(2 * width)..]));
    }

    private static HostLayers Load(string folder, DecoderDescription description, LayerRange range)
    {
        DeviceMemoryPlan memory = DeviceMemoryPlan.Of(
            DecoderPlan.Of(description), QuantizationScheme.Float16.RequireCuda(), new DeviceOptions { MaxBatch = 3, MaxContext = 16 }, static _ => 2, default, isHome: true);
        return new HostLayers(folder, description, range, QuantizationScheme.Parse("fp32").CreateFactory(), memory, -1, new LoadingProgress(null, 1), default);
    }

    private static List<float[]> Observe(TransformerModel model, int[] tokens, KeyValueCache[] caches)
    {
        List<float[]> streams = [];
        _ = model.Forward(tokens, caches, hidden => streams.Add([.. hidden]));
        return streams;
    }

    private static float[] Final(string folder, DecoderDescription description, float[] stream)
    {
        if (description.FinalNorm is not { } norm)
        {
            return stream;
        }

        using Checkpoint checkpoint = Checkpoint.Open(folder);
        Norm final = new CheckpointTensors(checkpoint, description).Norm(norm);
        float[] result = new float[stream.Length];
        for (int at = 0; at < stream.Length; at += norm.Size)
        {
            final.Apply(stream.AsSpan(at, norm.Size), result.AsSpan(at, norm.Size));
        }

        return result;
    }
}
