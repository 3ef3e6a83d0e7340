using KernelGen.Inference.Outliers;
using Spectre.Console;

namespace KernelGen.Cli.Output;

/// <summary>An outlier analysis as tables for people.</summary>
internal static class OutlierTables
{
    public static void Show(CommandContext context, OutlierReport report)
    {
        context.Sentence(Numbers.Invariant(
            $"{report.Layers} layers, {report.Windows} windows of {report.WindowLength} tokens, perplexity {report.Perplexity:0.0000} in float32."));
        ShowInputs(context, report);
        ShowFeatures(context, report);
        ShowZeroing(context, report);
        ShowTrials(context, report);
        ShowSuggestion(context, report);
    }

    /// <summary>A space in words.</summary>
    private static string Words(FeatureSpace space) => space switch
    {
        FeatureSpace.HiddenState => "hidden state",
        FeatureSpace.AttentionOutput => "attention output",
        _ => "MLP, inner",
    };

    private static string Words(LinearInputKind kind) => kind switch
    {
        LinearInputKind.Attention => "attention",
        LinearInputKind.AttentionOutput => "attention output",
        LinearInputKind.Mlp => "MLP",
        _ => "MLP, inner",
    };

    private static void ShowInputs(CommandContext context, OutlierReport report)
    {
        context.Heading(Numbers.Invariant($"Columns with |x| >= {report.Options.Threshold}, by input of the linear layers"));
        Table table = Report.CreateTable(context, ">layer", "input", ">columns", ">with outliers", $">at {report.Options.PositionShare * 100:0.##} % of positions", ">absmax");
        foreach (InputOutliers input in report.Inputs)
        {
            table.AddCells(
                null,
                Numbers.Count(input.Input.Layer),
                Words(input.Input.Kind),
                Numbers.Count(input.Input.Width),
                Numbers.Count(input.Columns.Count),
                Numbers.Count(input.Columns.Count(column => column.PositionShare >= report.Options.PositionShare)),
                Numbers.Ratio(input.Absmax));
        }

        context.Show(table);
    }

    private static void ShowFeatures(CommandContext context, OutlierReport report)
    {
        context.Heading(Numbers.Invariant(
            $"Systematic features: in {report.Options.LayerShare * 100:0.##} % of the layers and at {report.Options.PositionShare * 100:0.##} % of the positions"));
        if (report.Features.Count == 0)
        {
            context.Sentence("None.");
            return;
        }

        Table table = Report.CreateTable(context, "space", ">column", ">layers", ">positions", ">quartiles", ">absmax", "sign");
        foreach (SystematicFeature feature in report.Features)
        {
            OutlierColumn column = feature.Statistics;
            table.AddCells(
                null,
                Words(feature.Space),
                Numbers.Invariant($"{column.Column}"),
                Numbers.Invariant($"{feature.LayerShare * 100:0.0} %"),
                Numbers.Invariant($"{column.PositionShare * 100:0.0} %"),
                Numbers.Invariant($"{column.Quartiles.Lower:0.0}, {column.Quartiles.Median:0.0}, {column.Quartiles.Upper:0.0}"),
                Numbers.Ratio(column.Absmax),
                column.IsOneSided ? (column.PositiveShare > 0.5 ? "positive" : "negative") : Numbers.Invariant($"{column.PositiveShare * 100:0.0} % positive"));
        }

        context.Show(table);
    }

    private static void ShowZeroing(CommandContext context, OutlierReport report)
    {
        foreach (ZeroingExperiment experiment in report.Zeroing)
        {
            context.Heading(Numbers.Invariant(
                $"Perplexity when columns of the {Words(experiment.Space)} are zero ({experiment.Random.Count} random draws from seed {report.Options.Seed})"));
            Table table = Report.CreateTable(context, "zeroed", ">perplexity", ">against none", "columns");
            table.AddCells(null, "none", Numbers.Perplexity(report.Perplexity), "", "");
            AddZeroed("systematic", experiment.Systematic);
            foreach (ZeroedColumns draw in experiment.Random)
            {
                AddZeroed("random", draw);
            }

            context.Show(table);

            void AddZeroed(string what, ZeroedColumns zeroed) => table.AddCells(
                null, what, Numbers.Perplexity(zeroed.Perplexity), Numbers.Change(zeroed.Perplexity, report.Perplexity), string.Join(", ", zeroed.Columns));
        }
    }

    private static void ShowTrials(CommandContext context, OutlierReport report)
    {
        context.Heading("LLM.int8() by threshold: outlier columns of the whole batch, outliers row by row, and a fixed set");
        Table table = Report.CreateTable(
            context, ">threshold", ">columns", ">by columns", ">", ">values", ">by rows", ">", ">fixed set", ">perplexity", ">");
        foreach (ThresholdTrial trial in report.Trials)
        {
            table.AddCells(
                null,
                Numbers.Invariant($"{trial.Threshold}"),
                Numbers.Invariant($"{trial.ColumnShare * 100:0.00} %"),
                Numbers.Perplexity(trial.Perplexity),
                Numbers.Change(trial.Perplexity, report.Perplexity),
                Numbers.Invariant($"{trial.ValueShare * 100:0.000} %"),
                Numbers.Perplexity(trial.RowPerplexity),
                Numbers.Change(trial.RowPerplexity, report.Perplexity),
                Numbers.Count(trial.FixedColumns),
                Numbers.Perplexity(trial.FixedPerplexity),
                Numbers.Change(trial.FixedPerplexity, report.Perplexity));
        }

        context.Show(table);
        context.Sentence(Numbers.Invariant(
            $"Vector-wise int8 without outliers: {Numbers.Perplexity(report.VectorWisePerplexity)} ({Numbers.Change(report.VectorWisePerplexity, report.Perplexity)})."));
    }

    private static void ShowSuggestion(CommandContext context, OutlierReport report)
    {
        (ThresholdTrial threshold, ThresholdTrial set) = report.Suggestion;
        string most = Numbers.Invariant($"{report.Options.Tolerance * 100:0.##} %");
        context.Heading("Suggestion");
        context.Sentence(Numbers.Invariant(
            $"Threshold {threshold.Threshold}: the highest tried that costs at most {most} against float32 both by columns and by rows, or the best where none does."));
        context.Sentence(Numbers.Invariant(
            $"Fixed set of the threshold {set.Threshold}: {set.FixedColumns} columns in {set.FixedOutliers.Layers.Count()} linear layers, the smallest that costs at most {most}, or the best where none does."));
    }
}
