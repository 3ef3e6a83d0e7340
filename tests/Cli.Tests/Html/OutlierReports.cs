using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Outliers;

namespace KernelGen.Cli.Tests.Html;

/// <summary>Outlier analyses that no model has to be run for.</summary>
internal static class OutlierReports
{
    /// <summary>Names that would be dangerous if anything took them for HTML or for the end of a script.</summary>
    public const string Hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028'\"&{{data}}{a|b}";

    /// <summary>A model of two layers with one feature in the hidden state, and layers with a name from the caller.</summary>
    public static OutlierReport Create(string layer = "model.layers")
    {
        OutlierColumn feature = new(3, 0.987654321, 61.25f, 0.001, new Quartiles(-52.123456, -35.9, -26.1)), rare = new(7, 1.0 / 4096, 6.5f, 1, new Quartiles(6.5, 6.5, 6.5));
        InputOutliers[] inputs = [.. from index in Enumerable.Range(0, 2)
                                     from kind in Enum.GetValues<LinearInputKind>()
                                     select new InputOutliers(
                                         new LinearInput(index, kind, [$"{layer}.{index}.{kind}"], 8),
                                         kind == LinearInputKind.AttentionOutput ? 1.5f : 61.25f,
                                         kind switch { LinearInputKind.AttentionOutput => [], LinearInputKind.MlpInner => [rare], _ => [feature, rare] })];
        ThresholdTrial[] trials = [.. ((float[])[4, 6, 12.5f]).Select(threshold => new ThresholdTrial(
            threshold, 20.0123 + (threshold / 1000), 20.01 + (threshold / 500), 0.3 / threshold, 0.01 / threshold, new FixedOutlierSet([KeyValuePair.Create($"{layer}.0.Attention", (IReadOnlyList<int>)[3])]), 1, 20.02))];
        return new OutlierReport(
            new OutlierAnalysisOptions { Text = new PerplexityOptions { Windows = 2 } },
            2,
            2,
            512,
            20.0119,
            25.5,
            inputs,
            [new SystematicFeature(FeatureSpace.HiddenState, 2, 1, feature)],
            [new ZeroingExperiment(FeatureSpace.HiddenState, new ZeroedColumns([3], 5123.4567), [new ZeroedColumns([1], 20.1), new ZeroedColumns([5], 20.25)])],
            trials,
            new OutlierSuggestion(trials[1], trials[0]));
    }

    /// <summary>A model without any outliers.</summary>
    public static OutlierReport WithoutOutliers()
    {
        OutlierReport report = Create();
        return report with { Features = [], Zeroing = [], Inputs = [.. report.Inputs.Select(static input => input with { Absmax = 2, Columns = [] })] };
    }
}
