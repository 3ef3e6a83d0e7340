using System.Text.Json;
using KernelGen.Inference.Outliers;

namespace KernelGen.Cli.Output;

/// <summary>An outlier analysis as one JSON object: what <c>--json</c> prints and what the page shows.</summary>
internal static class OutlierJson
{
    /// <summary>Writes the object's properties.</summary>
    /// <param name="writer">Receives them.</param>
    /// <param name="model">The checkpoint's folder.</param>
    /// <param name="text">The text's file.</param>
    /// <param name="report">What was found.</param>
    public static void Write(Utf8JsonWriter writer, string model, string text, OutlierReport report)
    {
        writer.WriteString("model", model);
        writer.WriteString("text", text);
        writer.WriteNumber("windows", report.Windows);
        writer.WriteNumber("context", report.WindowLength);
        writer.WriteNumber("batch", report.Options.Text.BatchSize);
        writer.WriteNumber("threshold", report.Options.Threshold);
        writer.WriteNumber("least_layer_share", report.Options.LayerShare);
        writer.WriteNumber("least_position_share", report.Options.PositionShare);
        writer.WriteNumber("layers", report.Layers);
        writer.WriteNumberOrNull("perplexity", report.Perplexity);
        writer.WriteNumberOrNull("vector_wise_perplexity", report.VectorWisePerplexity);
        WriteArray(writer, "features", report.Features, WriteFeature);
        WriteArray(writer, "zeroing", report.Zeroing, (_, experiment) => WriteZeroing(writer, experiment, report.Options.Seed));
        WriteArray(writer, "thresholds", report.Trials, WriteTrial);
        WriteSuggestion(writer, report);
        WriteArray(writer, "inputs", report.Inputs, WriteInput);
    }

    /// <summary>A space as JSON and the page name it.</summary>
    public static string Name(FeatureSpace space) => space switch
    {
        FeatureSpace.HiddenState => "hidden_state",
        FeatureSpace.AttentionOutput => "attention_output",
        _ => "mlp_inner",
    };

    /// <summary>A kind of input as JSON and the page name it.</summary>
    public static string Name(LinearInputKind kind) => kind switch
    {
        LinearInputKind.Attention => "attention",
        LinearInputKind.AttentionOutput => "attention_output",
        LinearInputKind.Mlp => "mlp",
        _ => "mlp_inner",
    };

    private static void WriteArray<T>(Utf8JsonWriter writer, string name, IEnumerable<T> items, Action<Utf8JsonWriter, T> writeProperties)
    {
        writer.WriteStartArray(name);
        foreach (T item in items)
        {
            writer.WriteStartObject();
            writeProperties(writer, item);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteFeature(Utf8JsonWriter writer, SystematicFeature feature)
    {
        writer.WriteString("space", Name(feature.Space));
        writer.WriteNumber("layers", feature.Layers);
        writer.WriteNumber("layer_share", feature.LayerShare);
        WriteColumn(writer, feature.Statistics);
    }

    private static void WriteColumn(Utf8JsonWriter writer, OutlierColumn column)
    {
        writer.WriteNumber("column", column.Column);
        writer.WriteNumber("position_share", column.PositionShare);
        writer.WriteNumber("absmax", column.Absmax);
        writer.WriteNumber("positive_share", column.PositiveShare);
        writer.WriteBoolean("one_sided", column.IsOneSided);
        writer.WriteStartArray("quartiles");
        writer.WriteNumberValue(column.Quartiles.Lower);
        writer.WriteNumberValue(column.Quartiles.Median);
        writer.WriteNumberValue(column.Quartiles.Upper);
        writer.WriteEndArray();
    }

    private static void WriteZeroing(Utf8JsonWriter writer, ZeroingExperiment experiment, int seed)
    {
        writer.WriteString("space", Name(experiment.Space));
        WriteZeroed(writer, experiment.Systematic);
        writer.WriteNumber("seed", seed);
        WriteArray(writer, "random", experiment.Random, WriteZeroed);
    }

    private static void WriteZeroed(Utf8JsonWriter writer, ZeroedColumns zeroed)
    {
        writer.WriteNumbers("columns", zeroed.Columns);
        writer.WriteNumberOrNull("perplexity", zeroed.Perplexity);
    }

    private static void WriteTrial(Utf8JsonWriter writer, ThresholdTrial trial)
    {
        writer.WriteNumber("threshold", trial.Threshold);
        writer.WriteNumberOrNull("perplexity", trial.Perplexity);
        writer.WriteNumberOrNull("row_perplexity", trial.RowPerplexity);
        writer.WriteNumber("column_share", trial.ColumnShare);
        writer.WriteNumber("value_share", trial.ValueShare);
        writer.WriteNumber("fixed_columns", trial.FixedColumns);
        writer.WriteNumberOrNull("fixed_perplexity", trial.FixedPerplexity);
    }

    private static void WriteSuggestion(Utf8JsonWriter writer, OutlierReport report)
    {
        writer.WriteStartObject("suggestion");
        writer.WriteNumber("tolerance", report.Options.Tolerance);
        writer.WriteNumber("threshold", report.Suggestion.Threshold.Threshold);
        writer.WriteNumber("fixed_threshold", report.Suggestion.Fixed.Threshold);
        writer.WriteStartObject("fixed_outliers");
        foreach (InputOutliers input in report.Inputs)
        {
            foreach (string layer in input.Input.LinearLayers)
            {
                writer.WriteNumbers(layer, report.Suggestion.Fixed.FixedOutliers.ColumnsOf(layer, input.Input.Width));
            }
        }

        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    private static void WriteInput(Utf8JsonWriter writer, InputOutliers input)
    {
        writer.WriteNumber("layer", input.Input.Layer);
        writer.WriteString("kind", Name(input.Input.Kind));
        writer.WriteStrings("linear_layers", input.Input.LinearLayers);
        writer.WriteNumber("width", input.Input.Width);
        writer.WriteNumber("absmax", input.Absmax);
        WriteArray(writer, "outliers", input.Columns, WriteColumn);
    }
}
