using KernelGen.Inference.Quantization;
using System.Diagnostics;
using System.Text.Json;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Transformers;
using Xunit;
using Xunit.Abstractions;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests;

public class PerplexityTests(ITestOutputHelper output)
{
    [SkippableTheory]
    [InlineData("opt-1.5m")]
    [InlineData("opt-30m-outliers")]
    public void Float32_equals_transformers_within_a_ten_thousandth(string name)
    {
        JsonElement expected = Expected(name).GetProperty("ppl_16_windows");
        TransformerModel model = Model(name);
        Stopwatch watch = Stopwatch.StartNew();
        PerplexityResult result = Perplexity.Evaluate(model, TextTokens(name), new() { Windows = 16 });
        output.WriteLine($"{result.Perplexity} in {watch.Elapsed.TotalSeconds:F2} s");
        AssertWithin(1e-4, expected.GetProperty("fp32").GetDouble(), result.Perplexity);
        Assert.Equal(expected.GetProperty("scored").GetInt64(), result.TokensScored);
        Assert.Equal(16, result.Windows);
    }

    [SkippableTheory]
    [InlineData("opt-1.5m")]
    [InlineData("opt-30m-outliers")]
    public void Int8_weights_under_float_activations_equal_the_recorded_figure(string name)
    {
        TransformerModel model = TransformerModel.Load(Folder(name), WeightOnlyInt8Linear.Factory());
        PerplexityResult result = Perplexity.Evaluate(model, TextTokens(name), new() { Windows = 16 });
        output.WriteLine($"{result.Perplexity}");
        AssertWithin(2e-4, Expected(name).GetProperty("ppl_16_windows").GetProperty("w8a16").GetDouble(), result.Perplexity);
    }

    [SkippableFact]
    public void Batches_do_not_change_float32_and_progress_is_reported_after_each()
    {
        TransformerModel model = Model("opt-1.5m");
        int[] tokens = TextTokens("opt-1.5m")[..(5 * 64 + 63)];
        Collected progress = new();
        PerplexityResult one = Perplexity.Evaluate(model, tokens, new() { WindowLength = 64, BatchSize = 1 });
        PerplexityResult two = Perplexity.Evaluate(model, tokens, new() { WindowLength = 64, BatchSize = 2 }, progress: progress);
        Assert.Equal(5, one.Windows);
        Assert.Equal(5 * 63, one.TokensScored);
        Assert.Equal(one, two);
        Assert.Equal([2, 4, 5], progress.Values.Select(p => p.WindowsDone));
        Assert.All(progress.Values, p => Assert.Equal(5, p.Windows));
        Assert.Equal(two.Perplexity, progress.Values[^1].Perplexity);
    }

    [SkippableFact]
    public void Wrong_arguments_are_refused_with_the_numbers()
    {
        TransformerModel model = Model("opt-1.5m");
        ArgumentException tooShort = Assert.Throws<ArgumentException>(() => Perplexity.Evaluate(model, new int[511]));
        Assert.Contains("511", tooShort.Message, StringComparison.Ordinal);
        Assert.Contains("512", tooShort.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => Perplexity.Evaluate(model, new int[2000], new() { WindowLength = 513 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => Perplexity.Evaluate(model, new int[2000], new() { WindowLength = 1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => Perplexity.Evaluate(model, new int[2000], new() { Windows = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => Perplexity.Evaluate(model, new int[2000], new() { BatchSize = 0 }));
        Assert.Throws<ArgumentException>(() => Perplexity.Evaluate(model, Enumerable.Repeat(2048, 512).ToArray()));
        Assert.Throws<OperationCanceledException>(() => Perplexity.Evaluate(model, new int[2000], cancellation: new CancellationToken(true)));
    }

    private static void AssertWithin(double relative, double expected, double actual) =>
        Assert.InRange(actual, expected * (1 - relative), expected * (1 + relative));

    private sealed class Collected : IProgress<PerplexityProgress>
    {
        public List<PerplexityProgress> Values { get; } = [];

        public void Report(PerplexityProgress value) => Values.Add(value);
    }
}
