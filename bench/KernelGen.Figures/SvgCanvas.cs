using System.Globalization;
using System.Net;
using System.Text;

namespace KernelGen.Figures;

/// <summary>Where texts of a figure are anchored.</summary>
internal enum Anchor
{
    Start,
    Middle,
    End,
}

/// <summary>An SVG drawing that is light or dark as the reader's system is, with a background of its own so that it is legible on any page.</summary>
internal sealed class SvgCanvas
{
    /// <summary>Colours in the order of a figure's series; the second one is for what is to be seen first.</summary>
    private const string Style = """
        text { font: 12px system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #24292f }
        .title { font-size: 14px; font-weight: 600 } .quiet { fill: #57606a }
        .page { fill: #ffffff } .axis { stroke: #8c959f; stroke-width: 1; fill: none } .grid { stroke: #d8dee4; stroke-width: 1 }
        .s0 { fill: #8fa8c8; stroke: #4a6fa5 } .s1 { fill: #cf4a24; stroke: #cf4a24 } .s2 { fill: #1a7f5a; stroke: #1a7f5a } .s3 { fill: #8250df; stroke: #8250df }
        .bar { stroke: none } .line { fill: none; stroke-width: 2 } .mark { stroke: #cf4a24; stroke-width: 1.5; stroke-dasharray: 5 4 }
        @media (prefers-color-scheme: dark) {
          text { fill: #e6edf3 } .quiet { fill: #9da7b3 } .page { fill: #0d1117 } .axis { stroke: #6e7681 } .grid { stroke: #21262d }
          .s0 { fill: #5b80b5; stroke: #8db1e6 } .s1 { fill: #ff8a5c; stroke: #ff8a5c } .s2 { fill: #3fb98a; stroke: #3fb98a } .s3 { fill: #b392f0; stroke: #b392f0 } .mark { stroke: #ff8a5c }
          .bar { stroke: none } .line { fill: none }
        }
        """;

    private readonly StringBuilder _body = new();
    private readonly int _width;
    private readonly int _height;
    private readonly string _title;
    private readonly string _description;

    /// <summary>Begins a drawing.</summary>
    /// <param name="width">Its width.</param>
    /// <param name="height">Its height.</param>
    /// <param name="title">What it is, drawn at the top and read aloud.</param>
    /// <param name="description">What it shows, read aloud.</param>
    public SvgCanvas(int width, int height, string title, string description)
    {
        (_width, _height, _title, _description) = (width, height, title, description);
        Text(16, 24, title, "title");
    }

    public void Rectangle(double x, double y, double width, double height, string style, string? hint = null) =>
        _body.Append(Invariant($"<rect class=\"bar {style}\" x=\"{x:0.##}\" y=\"{y:0.##}\" width=\"{width:0.##}\" height=\"{height:0.##}\""))
            .Append(hint is null ? "/>\n" : $"><title>{WebUtility.HtmlEncode(hint)}</title></rect>\n");

    public void Line(double x1, double y1, double x2, double y2, string style) =>
        _body.Append(Invariant($"<line class=\"{style}\" x1=\"{x1:0.##}\" y1=\"{y1:0.##}\" x2=\"{x2:0.##}\" y2=\"{y2:0.##}\"/>\n"));

    public void Curve(IEnumerable<(double X, double Y)> points, string style)
    {
        (double X, double Y)[] all = [.. points];
        _body.Append(Invariant($"<polyline class=\"line {style}\" points=\"{string.Join(' ', all.Select(static point => Invariant($"{point.X:0.##},{point.Y:0.##}")))}\"/>\n"));
        foreach ((double x, double y) in all)
        {
            _body.Append(Invariant($"<circle class=\"{style}\" cx=\"{x:0.##}\" cy=\"{y:0.##}\" r=\"3\"/>\n"));
        }
    }

    public void Text(double x, double y, string text, string style = "", Anchor anchor = Anchor.Start) =>
        _body.Append(Invariant($"<text class=\"{style}\" x=\"{x:0.##}\" y=\"{y:0.##}\" text-anchor=\"{anchor.ToString().ToLowerInvariant()}\">{WebUtility.HtmlEncode(text)}</text>\n"));

    /// <summary>The file.</summary>
    public override string ToString() => $"""
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_width} {_height}" width="{_width}" height="{_height}" role="img" aria-labelledby="t d">
        <title id="t">{WebUtility.HtmlEncode(_title)}</title>
        <desc id="d">{WebUtility.HtmlEncode(_description)}</desc>
        <style>
        {Style}
        </style>
        <rect class="page" width="{_width}" height="{_height}" rx="6"/>
        {_body}</svg>

        """;

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
