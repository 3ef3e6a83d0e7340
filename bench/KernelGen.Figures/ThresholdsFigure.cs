using System.Globalization;
using System.Text.Json;

namespace KernelGen.Figures;

/// <summary>What a threshold costs and what it leaves to 16 bits.</summary>
internal static class ThresholdsFigure
{
    public static string Draw(JsonElement analysis)
    {
        double exact = analysis.GetProperty("perplexity").GetDouble();
        Trial[] trials =
        [
            .. analysis.GetProperty("thresholds").EnumerateArray().Select(trial => new Trial(
                trial.GetProperty("threshold").GetDouble(),
                Above(trial, "perplexity", exact),
                Above(trial, "row_perplexity", exact),
                trial.GetProperty("column_share").GetDouble() * 100,
                trial.GetProperty("value_share").GetDouble() * 100)),
        ];
        string model = Path.GetFileName(analysis.GetProperty("model").GetString()!.TrimEnd('/'));
        SvgCanvas canvas = new(
            760, 416,
            $"Threshold against error on {model}",
            string.Join(' ', trials.Select(static trial => FormattableString.Invariant(
                $"Threshold {trial.Threshold:0.##}: by columns {trial.Columns:+0.00;-0.00} %, by elements {trial.Elements:+0.00;-0.00} %, {trial.ColumnShare:0.00} % of columns."))));
        PlotArea error = new(canvas, 64, 76, 300, 260, Lowest(trials), trials.Max(static trial => Math.Max(trial.Columns, trial.Elements)), " %");
        PlotArea share = new(canvas, 440, 76, 300, 260, 0, trials.Max(static trial => trial.ColumnShare), " %");
        canvas.Text(error.Left, 58, "perplexity above float32");
        canvas.Text(share.Left, 58, "multiplied in 16 bits");
        foreach (PlotArea area in new[] { error, share })
        {
            foreach ((int i, Trial trial) in trials.Index())
            {
                area.Label(X(area, trials, i), trial.Threshold.ToString("0.##", CultureInfo.InvariantCulture));
            }

            canvas.Text(area.Left + (area.Width / 2), area.Top + area.Height + 38, "threshold", "quiet", Anchor.Middle);
        }

        Curve(canvas, error, trials, static trial => trial.Columns, "s0");
        Curve(canvas, error, trials, static trial => trial.Elements, "s1");
        Curve(canvas, share, trials, static trial => trial.ColumnShare, "s0");
        Curve(canvas, share, trials, static trial => trial.ValueShare, "s1");
        Legend(canvas, 64, "s0", "Columns: whole columns of the batch");
        Legend(canvas, 320, "s1", "Elements: single values");
        return canvas.ToString();
    }

    private static double Above(JsonElement trial, string name, double exact) => ((trial.GetProperty(name).GetDouble() / exact) - 1) * 100;

    private static double Lowest(Trial[] trials) => trials.Min(static trial => Math.Min(trial.Columns, trial.Elements));

    private static double X(PlotArea area, Trial[] trials, int i) => area.Left + (area.Width * (i + 0.5) / trials.Length);

    private static void Curve(SvgCanvas canvas, PlotArea area, Trial[] trials, Func<Trial, double> value, string style) =>
        canvas.Curve(trials.Index().Select(item => (X(area, trials, item.Index), area.Y(value(item.Item)))), style);

    private static void Legend(SvgCanvas canvas, double x, string style, string text)
    {
        canvas.Rectangle(x, 400 - 11, 12, 12, style);
        canvas.Text(x + 18, 400, text);
    }

    /// <param name="Threshold">From where on a value is an outlier.</param>
    /// <param name="Columns">What the rule by columns costs, in percent of perplexity.</param>
    /// <param name="Elements">What the rule by elements costs.</param>
    /// <param name="ColumnShare">Columns that leave the int8 part, in percent.</param>
    /// <param name="ValueShare">Values that do.</param>
    private sealed record Trial(double Threshold, double Columns, double Elements, double ColumnShare, double ValueShare);
}
