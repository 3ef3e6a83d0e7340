using System.Text.Json;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Transformers;
using Xunit;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests;

public class GenerationTests
{
    [SkippableTheory]
    [InlineData("opt-1.5m")]
    [InlineData("opt-30m-outliers")]
    public void Greedy_ids_equal_those_of_transformers(string name)
    {
        JsonElement expected = Expected(name);
        int offset = expected.GetProperty("greedy_prompt_offset").GetInt32();
        int length = expected.GetProperty("greedy_prompt_len").GetInt32();
        int[] greedy = [.. expected.GetProperty("greedy").EnumerateArray().Select(id => id.GetInt32())];
        int[] prompt = TextTokens(name)[offset..(offset + length)];
        Assert.Equal(greedy, new TextGenerator(Model(name)).Generate(prompt, new() { MaxNewTokens = greedy.Length }));
    }

    [SkippableFact]
    public void Sampling_depends_on_the_seed_alone()
    {
        TextGenerator generator = new(Model("opt-1.5m"));
        int[] prompt = TextTokens("opt-1.5m")[..20];
        GenerationOptions options = new() { MaxNewTokens = 30, Temperature = 1f, TopP = 0.9f, Seed = 7, StopAtEndOfSequence = false };
        int[] first = generator.Generate(prompt, options);
        Assert.Equal(first, generator.Generate(prompt, options));
        Assert.NotEqual(first, generator.Generate(prompt, options with { Seed = 8 }));
        Assert.Equal(30, first.Length);
    }

    [SkippableFact]
    public void A_nucleus_of_one_token_and_a_temperature_near_zero_are_greedy()
    {
        TextGenerator generator = new(Model("opt-1.5m"));
        int[] prompt = TextTokens("opt-1.5m")[..20];
        int[] greedy = generator.Generate(prompt, new() { MaxNewTokens = 20 });
        Assert.Equal(greedy, generator.Generate(prompt, new() { MaxNewTokens = 20, Temperature = 1f, TopP = 1e-6f }));
        Assert.Equal(greedy, generator.Generate(prompt, new() { MaxNewTokens = 20, Temperature = 1e-4f }));
    }

    [Theory]
    [InlineData(1f, 1f)]
    [InlineData(0.5f, 1f)]
    [InlineData(1f, 0.8f)]
    public void Sampled_tokens_have_the_frequencies_that_temperature_and_nucleus_give(float temperature, float topP)
    {
        float[] logits = [1f, 3f, float.NegativeInfinity, 2f, 0f];
        double[] weights = [.. logits.Select(l => Math.Exp(l / temperature))];
        double total = weights.Sum();
        double before = 0;
        foreach (int id in Enumerable.Range(0, 5).OrderByDescending(i => weights[i]).ToArray())
        {
            double weight = weights[id];
            weights[id] = before < topP * total ? weight : 0;
            before += weight;
        }

        TokenSampler sampler = new(new() { Temperature = temperature, TopP = topP, Seed = 3 });
        int[] counts = new int[5];
        const int Draws = 40_000;
        for (int i = 0; i < Draws; i++)
        {
            counts[sampler.Choose(logits)]++;
        }

        for (int id = 0; id < 5; id++)
        {
            double p = weights[id] / weights.Sum();
            Assert.InRange(counts[id], (Draws * p) - (5 * Math.Sqrt(Draws * p * (1 - p))), (Draws * p) + (5 * Math.Sqrt(Draws * p * (1 - p))));
        }
    }

    [Fact]
    public void Logits_that_are_not_finite_are_an_error_and_equals_go_to_the_first()
    {
        TokenSampler sampler = new(new());
        Assert.Throws<InvalidOperationException>(() => sampler.Choose([1f, float.NaN, 2f]));
        Assert.Throws<InvalidOperationException>(() => sampler.Choose([1f, float.PositiveInfinity]));
        Assert.Equal(1, sampler.Choose([1f, 5f, 5f]));
    }

    [SkippableFact]
    public void Generation_ends_at_the_end_of_the_text_or_of_the_context()
    {
        TransformerModel model = Model("opt-1.5m");
        TextGenerator generator = new(model);
        int[] text = TextTokens("opt-1.5m");
        Assert.Equal(4, generator.Generate(text[..509], new() { MaxNewTokens = 100, StopAtEndOfSequence = false }).Length);
        Assert.Single(generator.Generate(text[..512], new() { MaxNewTokens = 100 }));
        Assert.Empty(generator.Generate(text[..512], new() { MaxNewTokens = 0 }));

        // Sampled nearly evenly, the end turns up among 2,048 tokens sooner or later.
        Assert.Equal([2], model.Description.EndOfSequenceTokens);
        GenerationOptions wild = new() { MaxNewTokens = 500, Temperature = 1e6f, Seed = 1, StopAtEndOfSequence = false };
        int[] all = [];
        for (int seed = 0; !all.Contains(2); seed++)
        {
            Assert.InRange(seed, 0, 30);
            wild = wild with { Seed = seed };
            all = generator.Generate(text[..8], wild);
        }

        Assert.Equal(all[..(Array.IndexOf(all, 2) + 1)], generator.Generate(text[..8], wild with { StopAtEndOfSequence = true }));
    }

    [SkippableFact]
    public void Tokens_arrive_one_by_one_and_can_be_cancelled()
    {
        TextGenerator generator = new(Model("opt-1.5m"));
        using CancellationTokenSource source = new();
        List<int> seen = [];
        Assert.Throws<OperationCanceledException>(() =>
        {
            foreach (int token in generator.Stream([5, 6, 7], new() { MaxNewTokens = 50, StopAtEndOfSequence = false }, source.Token))
            {
                seen.Add(token);
                if (seen.Count == 3)
                {
                    source.Cancel();
                }
            }
        });
        Assert.Equal(3, seen.Count);
    }

    [SkippableFact]
    public void Wrong_arguments_are_refused_before_any_work()
    {
        TextGenerator generator = new(Model("opt-1.5m"));
        ArgumentException tooLong = Assert.Throws<ArgumentException>(() => generator.Stream(new int[600]));
        Assert.Contains("600", tooLong.Message, StringComparison.Ordinal);
        Assert.Contains("512", tooLong.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => generator.Stream([]));
        Assert.Throws<ArgumentException>(() => generator.Stream([2048]));
        Assert.Throws<ArgumentException>(() => generator.Stream([-1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => generator.Stream([1], new() { MaxNewTokens = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => generator.Stream([1], new() { Temperature = float.NaN }));
        Assert.Throws<ArgumentOutOfRangeException>(() => generator.Stream([1], new() { Temperature = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => generator.Stream([1], new() { TopP = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => generator.Stream([1], new() { TopP = float.NaN }));
    }
}
