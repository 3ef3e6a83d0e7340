using KernelGen.Inference.Outliers;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using Xunit;
using Xunit.Abstractions;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests.Outliers;

/// <summary>The analysis on a model that is known to have six outlier features, on models without, and on every family.</summary>
public class OutlierAnalysisTests(ITestOutputHelper output)
{
    /// <summary>The hidden dimensions whose layer-norm biases stand far out in every layer's weights, as the model was trained to have them.</summary>
    private static readonly int[] _trained = [175, 203, 262, 333, 374, 487];

    [SkippableFact]
    public void The_six_features_that_a_model_was_trained_with_are_found_and_worth_far_more_than_six_others()
    {
        const string Name = "opt-30m-outliers";
        OutlierReport report = OutlierAnalysis.Run(
            Folder(Name), TextTokens(Name), new OutlierAnalysisOptions { Text = new PerplexityOptions { Windows = 4 }, Draws = 2, CandidateThresholds = [6] });

        Assert.Equal(_trained, report.Features.Select(static feature => feature.Statistics.Column).Order());
        Assert.All(report.Features, static feature => Assert.Equal(FeatureSpace.HiddenState, feature.Space));
        Assert.Single(report.Features, static feature => feature.Statistics.Column == 487 && feature.Statistics.Quartiles.Upper > 0);
        Assert.All(report.Features.Where(static feature => feature.Statistics.Column != 487), static feature => Assert.True(feature.Statistics.Quartiles.Upper < 0));

        ZeroingExperiment zeroing = report.Zeroing.Single();
        output.WriteLine($"{report.Perplexity}; without the six {zeroing.Systematic.Perplexity}; without others {string.Join(", ", zeroing.Random.Select(static draw => draw.Perplexity))}");
        Assert.Equal(_trained, zeroing.Systematic.Columns);
        Assert.True(zeroing.Systematic.Perplexity > 100 * report.Perplexity);
        Assert.All(zeroing.Random, draw =>
        {
            Assert.Equal(6, draw.Columns.Distinct().Count());
            Assert.Empty(draw.Columns.Intersect(_trained));
            Assert.InRange(draw.Perplexity, report.Perplexity * 0.99, report.Perplexity * 1.1);
        });

        // The other figures are those of the plain evaluation, whose model nobody watches.
        Assert.Equal(Evaluate(Name, FloatLinear.Factory()), report.Perplexity);
        Assert.Equal(Evaluate(Name, QuantizationScheme.Parse("llm-int8").CreateFactory(6)), report.Trials.Single().Perplexity);
        Assert.Equal(Evaluate(Name, QuantizationScheme.Fixed.CreateFactory(fixedOutliers: report.Suggestion.Fixed.FixedOutliers)), report.Trials.Single().FixedPerplexity);
        Assert.True(report.VectorWisePerplexity > report.Suggestion.Fixed.FixedPerplexity);
    }

    [SkippableFact]
    public void The_same_seed_draws_the_same_columns()
    {
        const string Name = "opt-1.5m";
        OutlierAnalysisOptions options = new() { Threshold = 2, Text = new PerplexityOptions { Windows = 1, WindowLength = 64 }, Draws = 2, CandidateThresholds = [3] };
        OutlierReport first = OutlierAnalysis.Run(Folder(Name), TextTokens(Name), options), again = OutlierAnalysis.Run(Folder(Name), TextTokens(Name), options);
        OutlierReport other = OutlierAnalysis.Run(Folder(Name), TextTokens(Name), options with { Seed = 2 });

        Assert.NotEmpty(first.Zeroing);
        Assert.Equal(Draws(first), Draws(again));
        Assert.NotEqual(Draws(first), Draws(other));

        static IEnumerable<string> Draws(OutlierReport report) =>
            report.Zeroing.SelectMany(static experiment => experiment.Random).Select(static draw => $"{string.Join(',', draw.Columns)}: {draw.Perplexity}");
    }

    [SkippableTheory]
    [InlineData("opt-pre-ln")]
    [InlineData("opt-post-ln-projected")]
    [InlineData("bloom")]
    [InlineData("gpt2")]
    [InlineData("gpt-neox")]
    [InlineData("llama-gqa")]
    public void Every_family_is_analysed(string family)
    {
        string? folder = KernelGen.Tests.RepositoryPaths.SharedModel($"families/{family}");
        Skip.If(folder is null, "The shared models are not here.");
        OutlierReport report = OutlierAnalysis.Run(
            folder,
            [.. Enumerable.Range(0, 64).Select(static i => i * 7 % 500)],
            new OutlierAnalysisOptions { Threshold = 1, Text = new PerplexityOptions { WindowLength = 32 }, Draws = 1, CandidateThresholds = [2] });

        Assert.Equal(4 * report.Layers, report.Inputs.Count);
        Assert.True(double.IsFinite(report.Perplexity));
        Assert.All(report.Inputs, static input => Assert.True(input.Absmax > 0));
    }

    [Fact]
    public void Wrong_options_are_refused()
    {
        foreach (OutlierAnalysisOptions options in (OutlierAnalysisOptions[])
            [new() { Threshold = 0 }, new() { Threshold = float.NaN }, new() { Draws = 0 }, new() { LayerShare = 0 }, new() { PositionShare = 1.1 }, new() { CandidateThresholds = [] }, new() { CandidateThresholds = [6, 6] }, new() { CandidateThresholds = [-1] }])
        {
            Assert.ThrowsAny<ArgumentException>(() => OutlierAnalysis.Run("no-such-folder", [1], options));
        }
    }

    private static double Evaluate(string name, LinearLayerFactory linear)
    {
        using TransformerModel model = TransformerModel.Load(Folder(name), linear);
        return Perplexity.Evaluate(model, TextTokens(name), new() { Windows = 4 }).Perplexity;
    }
}
