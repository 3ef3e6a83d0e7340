using System.Text.Json;

namespace KernelGen.Figures;

/// <summary>Each scheme's memory beside what it costs in perplexity.</summary>
internal static class SchemesFigure
{
    private const string Exact = "fp32";
    private const double Megabyte = 1e6;

    public static IReadOnlyList<Scheme> Read(IEnumerable<string> lines) =>
    [
        .. lines.Select(static line => JsonElement.Parse(line)).Select(static line => new Scheme(
            line.GetProperty("scheme").GetString()!, line.GetProperty("perplexity").GetDouble(), line.GetProperty("model_bytes").GetDouble() / Megabyte)),
    ];

    public static string Draw(IReadOnlyList<Scheme> schemes)
    {
        Scheme exact = schemes.FirstOrDefault(static scheme => scheme.Name == Exact) ?? throw new ArgumentException($"The evaluation has no line of the scheme {Exact}.");
        double most = schemes.Max(scheme => Above(scheme, exact)), largest = schemes.Max(static scheme => scheme.Megabytes);
        SvgCanvas canvas = new(
            760, 70 + (26 * schemes.Count),
            "Memory of the whole model, and perplexity above float32",
            string.Join(' ', schemes.Select(scheme => FormattableString.Invariant($"{scheme.Name}: {scheme.Megabytes:0.00} MB, {Above(scheme, exact):+0.00;-0.00;0} %."))));
        canvas.Text(230, 48, "MB", "quiet");
        canvas.Text(500, 48, "perplexity above float32", "quiet");
        foreach ((int i, Scheme scheme) in schemes.Index())
        {
            double y = 58 + (26 * i);
            string style = scheme.Name.StartsWith("llm-int8", StringComparison.Ordinal) ? "s1" : "s0";
            canvas.Text(222, y + 13, scheme.Name, "", Anchor.End);
            canvas.Rectangle(230, y, 200 * scheme.Megabytes / largest, 18, style);
            canvas.Text(236 + (200 * scheme.Megabytes / largest), y + 13, FormattableString.Invariant($"{scheme.Megabytes:0.00}"), "quiet");
            double above = Math.Max(0, Above(scheme, exact));
            canvas.Rectangle(500, y, 190 * above / most, 18, style);
            canvas.Text(506 + (190 * above / most), y + 13, FormattableString.Invariant($"{Above(scheme, exact):+0.00;-0.00;0} %"), "quiet");
        }

        return canvas.ToString();
    }

    private static double Above(Scheme scheme, Scheme exact) => ((scheme.Perplexity / exact.Perplexity) - 1) * 100;

    /// <param name="Name">As on the command line.</param>
    /// <param name="Perplexity">Of the text.</param>
    /// <param name="Megabytes">Of all parameters.</param>
    internal sealed record Scheme(string Name, double Perplexity, double Megabytes);
}
