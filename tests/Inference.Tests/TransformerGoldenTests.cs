using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using Xunit;
using Xunit.Abstractions;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests;

public class TransformerGoldenTests(ITestOutputHelper output)
{
    [SkippableTheory]
    [InlineData("opt-1.5m")]
    [InlineData("opt-30m-outliers")]
    public void Logits_and_hidden_states_of_the_trained_models_equal_those_of_transformers(string name)
    {
        TransformerModel model = Model(name);
        int[] ids = GoldenIds(name, "input_ids");
        List<float[]> states = [];
        float[] hidden = model.Forward(ids, [model.CreateCache(ids.Length)], states.Add);

        int vocabulary = model.Description.VocabularySize;
        float[] logits = Logits(model, hidden);
        float[] everyEighth = [.. Enumerable.Range(0, ids.Length / 8).SelectMany(i => logits.AsSpan(i * 8 * vocabulary, vocabulary).ToArray())];
        float logitDifference = LargestDifference(GoldenSingles(name, "logits"), everyEighth);

        int size = model.Description.HiddenSize;
        float[] everySixteenth = [.. states.SelectMany(s => Enumerable.Range(0, ids.Length / 16).SelectMany(i => s.AsSpan(i * 16 * size, size).ToArray()))];
        float stateDifference = LargestDifference(GoldenSingles(name, "hidden_states"), everySixteenth);

        output.WriteLine($"logits {logitDifference}, hidden states {stateDifference}");
        Assert.InRange(logitDifference, 0, 2e-3f);
        Assert.InRange(stateDifference, 0, 2e-3f);
    }

    [SkippableTheory]
    [InlineData("opt-pre-ln")]
    [InlineData("opt-post-ln-projected")]
    [InlineData("bloom")]
    [InlineData("gpt2")]
    [InlineData("gpt-neox")]
    [InlineData("llama-gqa")]
    public void Logits_and_greedy_ids_of_the_family_equal_those_of_transformers(string family)
    {
        string name = "families/" + family;
        TransformerModel model = Model(name);
        int[] ids = GoldenIds(name, "input_ids");
        int length = ids.Length / 2;
        float[] hidden = model.Forward(ids, model.CreateCache(length), model.CreateCache(length));
        float difference = LargestDifference(GoldenSingles(name, "logits"), Logits(model, hidden));
        output.WriteLine($"logits {difference}");
        Assert.InRange(difference, 0, 1e-2f);

        int[] greedy = GoldenIds(name, "greedy_ids");
        Assert.Equal(
            greedy[8..], new Generation.TextGenerator(model).Generate(greedy[..8], new() { MaxNewTokens = 16, StopAtEndOfSequence = false }));
    }

    [SkippableTheory]
    [InlineData("opt-1.5m")]
    [InlineData("families/opt-post-ln-projected")]
    [InlineData("families/bloom")]
    [InlineData("families/gpt2")]
    [InlineData("families/gpt-neox")]
    [InlineData("families/llama-gqa")]
    public void Decoding_with_the_cache_has_the_bits_of_a_prefill(string name)
    {
        TransformerModel model = Model(name);
        int[] ids = GoldenIds(name, "input_ids")[..40];
        float[] prefill = model.Forward(ids, model.CreateCache(ids.Length));

        KeyValueCache cache = model.CreateCache(ids.Length);
        List<float> decoded = [.. model.Forward(ids.AsSpan(0, 7), cache), .. model.Forward(ids.AsSpan(7, 13), cache)];
        for (int i = 20; i < ids.Length; i++)
        {
            decoded.AddRange(model.Forward(ids.AsSpan(i, 1), cache));
        }

        Assert.Equal(ids.Length, cache.Length);
        Assert.Equal(prefill, decoded);
    }

    [SkippableFact]
    public void A_sequence_has_the_same_bits_alone_in_any_batch_and_with_any_threads()
    {
        TransformerModel model = Model("opt-1.5m");
        int[] text = TextTokens("opt-1.5m");
        const int Length = 200;
        float[] batch = model.Forward(text.AsSpan(0, 3 * Length), model.CreateCache(Length), model.CreateCache(Length), model.CreateCache(Length));
        float[] alone = model.Forward(text.AsSpan(Length, Length), model.CreateCache(Length));
        Assert.Equal(alone, batch.AsSpan(alone.Length, alone.Length).ToArray());

        TransformerModel oneThread = TransformerModel.Load(Folder("opt-1.5m"), FloatLinear.Factory(1), 1);
        Assert.Equal(batch, oneThread.Forward(
            text.AsSpan(0, 3 * Length), oneThread.CreateCache(Length), oneThread.CreateCache(Length), oneThread.CreateCache(Length)));
    }

    [SkippableFact]
    public void Sequences_at_different_positions_share_a_step()
    {
        TransformerModel model = Model("opt-1.5m");
        int[] text = TextTokens("opt-1.5m");
        KeyValueCache first = model.CreateCache(64);
        KeyValueCache second = model.CreateCache(512);
        model.Forward(text.AsSpan(0, 10), first);
        model.Forward(text.AsSpan(100, 300), second);
        float[] together = model.Forward([text[10], text[400]], first, second);

        int size = model.Description.TokenEmbedding.Size;
        Assert.Equal(model.Forward(text.AsSpan(0, 11), model.CreateCache(11))[^size..], together[..size]);
        Assert.Equal(model.Forward(text.AsSpan(100, 301), model.CreateCache(301))[^size..], together[size..]);
    }

    [SkippableFact]
    public void Weights_stay_in_sixteen_bits_and_tied_ones_count_once()
    {
        TransformerModel model = Model("opt-1.5m");
        long file = new FileInfo(Path.Combine(Folder("opt-1.5m"), "model.safetensors")).Length;

        // Biases and norms are widened to float32, the table of positions is filled up to a whole panel.
        Assert.InRange(model.Bytes, file - 40_000, file + 40_000);

        TransformerModel int8 = TransformerModel.Load(Folder("opt-1.5m"), WeightOnlyInt8Linear.Factory());
        long linearWeights = 6L * 12 * 128 * 128;
        Assert.Equal(model.Bytes - linearWeights + (6 * ((4 * 128) + 512 + 128) * 4), int8.Bytes);
    }
}
