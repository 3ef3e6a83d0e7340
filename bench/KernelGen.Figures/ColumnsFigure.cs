using System.Globalization;
using System.Text.Json;

namespace KernelGen.Figures;

/// <summary>The magnitudes of the hidden state, dimension by dimension: those that outliers are found in stand out.</summary>
internal static class ColumnsFigure
{
    private const double Threshold = 6;

    /// <summary>Draws an analysis that was made with a threshold so low that every column is in it.</summary>
    public static string Draw(JsonElement analysis)
    {
        Column[] columns =
        [
            .. analysis.GetProperty("features").EnumerateArray()
                .Where(static feature => feature.GetProperty("space").GetString() == "hidden_state")
                .Select(static feature => new Column(
                    feature.GetProperty("column").GetInt32(),
                    feature.GetProperty("absmax").GetDouble(),
                    feature.GetProperty("quartiles").EnumerateArray().Max(static value => Math.Abs(value.GetDouble()))))
                .OrderBy(static column => column.Index),
        ];
        if (columns.Length == 0)
        {
            throw new ArgumentException("The analysis has no hidden dimensions. Make it with --threshold 0.01.");
        }

        string model = Path.GetFileName(analysis.GetProperty("model").GetString()!.TrimEnd('/'));
        int beyond = columns.Count(static column => column.Absmax >= Threshold);
        SvgCanvas canvas = new(
            760, 320,
            $"The largest magnitude in each hidden dimension: {model}",
            $"{columns.Length} dimensions; {beyond} reach {Threshold}, the largest {columns.Max(static column => column.Absmax):0.0}.");
        PlotArea area = new(canvas, 52, 64, 692, 222, 0, columns.Max(static column => column.Absmax), "");
        double width = area.Width / (columns[^1].Index + 1);
        Column[] named = [.. columns.Where(static column => column.Absmax >= 2 * Threshold)];
        foreach (Column column in columns)
        {
            bool outlier = named.Contains(column);
            double x = area.Left + (column.Index * width);
            canvas.Rectangle(
                x, area.Y(column.Absmax), Math.Max(width * 0.8, outlier ? 2 : 0.6), area.Y(0) - area.Y(column.Absmax), outlier ? "s1" : "s0",
                FormattableString.Invariant($"dimension {column.Index}: up to {column.Absmax:0.0}, the upper quartile of magnitudes {column.Upper:0.0}"));
            if (outlier)
            {
                canvas.Text(x + (width / 2), area.Y(column.Absmax) - 4, column.Index.ToString(CultureInfo.InvariantCulture), "", Anchor.Middle);
            }
        }

        canvas.Line(area.Left, area.Y(Threshold), area.Left + area.Width, area.Y(Threshold), "mark");
        canvas.Text(area.Left, 46, "dashed: the threshold 6" + (named.Length == 0 ? "" : "; named: the dimensions that reach twice as much"), "quiet");
        canvas.Text(area.Left + (area.Width / 2), area.Top + area.Height + 22, $"dimensions 0 to {columns[^1].Index} of what attention and MLP read, all layers", "quiet", Anchor.Middle);
        return canvas.ToString();
    }

    /// <param name="Index">The dimension.</param>
    /// <param name="Absmax">Its largest magnitude in any layer.</param>
    /// <param name="Upper">The larger magnitude of its outer quartiles.</param>
    private sealed record Column(int Index, double Absmax, double Upper);
}
