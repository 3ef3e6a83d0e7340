using System.Globalization;

namespace KernelGen.Figures;

/// <summary>A rectangle of a drawing with a scale from zero upwards and lines at round values.</summary>
internal sealed class PlotArea
{
    private static readonly int[] RoundFactors = [1, 2, 5, 10];

    private readonly SvgCanvas _canvas;
    private readonly double _lowest;
    private readonly double _highest;

    /// <summary>Draws axis and grid.</summary>
    /// <param name="canvas">Where.</param>
    /// <param name="left">The left edge.</param>
    /// <param name="top">The upper edge.</param>
    /// <param name="width">The width.</param>
    /// <param name="height">The height.</param>
    /// <param name="lowest">The smallest value that is drawn; zero is always in the scale.</param>
    /// <param name="highest">The largest one.</param>
    /// <param name="unit">What follows the numbers beside the axis.</param>
    public PlotArea(SvgCanvas canvas, double left, double top, double width, double height, double lowest, double highest, string unit)
    {
        (_canvas, Left, Top, Width, Height) = (canvas, left, top, width, height);
        double step = RoundStep((Math.Max(highest, 0) - Math.Min(lowest, 0)) / 4);
        (_lowest, _highest) = (Math.Floor(Math.Min(lowest, 0) / step) * step, Math.Ceiling(Math.Max(highest, 0) / step) * step);
        for (int i = 0; _lowest + (i * step) <= _highest + (step / 2); i++)
        {
            double value = _lowest + (i * step);
            canvas.Line(left, Y(value), left + width, Y(value), Math.Abs(value) < step / 2 ? "axis" : "grid");
            canvas.Text(left - 6, Y(value) + 4, Math.Round(value, 6).ToString("0.######", CultureInfo.InvariantCulture) + unit, "quiet", Anchor.End);
        }
    }

    public double Left { get; }

    public double Top { get; }

    public double Width { get; }

    public double Height { get; }

    /// <summary>Where a value is.</summary>
    public double Y(double value) => Top + (Height * (_highest - value) / (_highest - _lowest));

    /// <summary>Draws a name below the axis.</summary>
    public void Label(double x, string text) => _canvas.Text(x, Top + Height + 18, text, "quiet", Anchor.Middle);

    /// <summary>1, 2 or 5 times a power of ten, at least as large.</summary>
    private static double RoundStep(double least)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(least)));
        return RoundFactors.Select(factor => factor * power).First(step => step >= least * 0.999);
    }
}
