using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using KernelGen.Cli.Html;
using KernelGen.Cli.Output;
using KernelGen.Tests;
using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Cli.Tests.Html;

/// <summary>The text of a page, without a browser.</summary>
public sealed partial class PageTests
{
    private static readonly string _assets = Path.Combine(RepositoryPaths.Root, "src/Cli/Html/Assets");

    [Fact]
    public void The_data_of_the_page_is_what_json_prints()
    {
        using StringWriter line = new();
        JsonLine.Write(line, writer => OutlierJson.Write(writer, OutlierReports.Hostile, "text.txt", OutlierReports.Create(OutlierReports.Hostile)));

        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(line.ToString()), JsonElement.Parse(DataOf(Page()))));
    }

    [Fact]
    public void The_data_of_a_tuning_page_are_the_records()
    {
        TuningRecord[] records = TuningRecords.Create(OutlierReports.Hostile);
        string data = DataOf(HtmlReport.Compose("Tuning", HtmlReport.Tuning, writer => TuningPageJson.Write(writer, records.Reverse())));

        Assert.DoesNotContain('<', data);
        JsonElement[] held = [.. JsonElement.Parse(data).GetProperty("records").EnumerateArray()];
        Assert.Equal(records.Length, held.Length);
        Assert.All(held.Zip(records), static pair => Assert.True(JsonElement.DeepEquals(JsonElement.Parse(TuningRecordJson.Write(pair.Second)), pair.First)));
    }

    [Fact]
    public void Nothing_in_the_data_can_end_its_element_or_enter_another()
    {
        string page = Page();
        string data = DataOf(page);

        Assert.DoesNotContain('<', data);
        Assert.DoesNotContain('&', data);
        Assert.DoesNotContain('\u2028', data);
        Assert.Equal(4, Regex.Count(page, "<script[ >]"));
        Assert.Equal(4, Regex.Count(page, "</script>"));
        Assert.DoesNotContain("<img", ScriptElements().Replace(page, ""));
        Assert.Contains("<title>&lt;/script&gt;&lt;script&gt;alert(1)", page);
    }

    [Fact]
    public void Only_the_pages_own_scripts_may_run_and_nothing_may_be_loaded()
    {
        string page = Page();
        string policy = Regex.Match(page, "Content-Security-Policy\" content=\"([^\"]*)\"").Groups[1].Value;
        string[] hashes = [.. ScriptElements().Matches(page).Select(static script =>
            $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(script.Groups[1].Value)))}'")];

        Assert.Equal(3, hashes.Length);
        Assert.Equal($"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; script-src {string.Join(' ', hashes)}", policy);
    }

    [Fact]
    public void The_charting_library_is_the_published_file_and_its_notices_are_in_the_page()
    {
        string notes = File.ReadAllText(Path.Combine(_assets, "echarts/README.md"));
        string hash = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(_assets, "echarts/echarts.min.js"))));
        string page = Page();

        Assert.Contains(hash, notes);
        Assert.Contains("The Apache Software Foundation", page);
        Assert.Contains("Copyright (c) 2017, Baidu Inc.", page);
        Assert.Contains("http://www.apache.org/licenses/LICENSE-2.0", page);
    }

    [Theory]
    [InlineData("text", "page")]
    [InlineData("text", "card")]
    [InlineData("text", "inset")]
    [InlineData("muted", "page")]
    [InlineData("muted", "card")]
    [InlineData("accent", "page")]
    [InlineData("accent", "card")]
    [InlineData("heat-text", "heat-0")]
    [InlineData("heat-text", "heat-1")]
    [InlineData("heat-text-strong", "heat-2")]
    [InlineData("heat-text-strong", "heat-3")]
    public void Text_has_the_contrast_that_wcag_asks_for(string text, string background)
    {
        foreach (Dictionary<string, string> theme in Themes())
        {
            Assert.True(Contrast(theme[text], theme[background]) >= 4.5, $"{text} {theme[text]} on {background} {theme[background]}");
        }
    }

    [Fact]
    public void Lines_of_charts_stand_out_from_the_card()
    {
        foreach (Dictionary<string, string> theme in Themes())
        {
            Assert.All(
                theme.Keys.Where(static name => name.StartsWith("series-", StringComparison.Ordinal) || name is "chosen" or "bad"),
                name => Assert.True(Contrast(theme[name], theme["card"]) >= 3, $"{name} {theme[name]}"));
        }
    }

    private static string Page() => HtmlReport.Compose(
        OutlierReports.Hostile,
        HtmlReport.Outliers,
        writer => OutlierJson.Write(writer, OutlierReports.Hostile, "text.txt", OutlierReports.Create(OutlierReports.Hostile)));

    private static string DataOf(string page) => Regex.Match(page, "<script type=\"application/json\" id=\"data\">(.*?)</script>", RegexOptions.Singleline).Groups[1].Value;

    private static IEnumerable<Dictionary<string, string>> Themes() =>
        from block in Regex.Matches(File.ReadAllText(Path.Combine(_assets, "page.css")), @":root[^{]*\{([^}]*)\}").Select(static match => match.Groups[1].Value)
        select Regex.Matches(block, "--([a-z0-9-]+): (#[0-9a-f]{6});").ToDictionary(static match => match.Groups[1].Value, static match => match.Groups[2].Value);

    /// <summary>WCAG 2.2, contrast ratio.</summary>
    private static double Contrast(string first, string second)
    {
        double[] luminances = [.. ((string[])[first, second]).Select(Luminance).Order()];
        return (luminances[1] + 0.05) / (luminances[0] + 0.05);

        static double Luminance(string color)
        {
            double[] linear = [.. Enumerable.Range(0, 3).Select(i => int.Parse(color.AsSpan(1 + (2 * i), 2), NumberStyles.HexNumber) / 255.0)
                .Select(static value => value <= 0.04045 ? value / 12.92 : Math.Pow((value + 0.055) / 1.055, 2.4))];
            return (0.2126 * linear[0]) + (0.7152 * linear[1]) + (0.0722 * linear[2]);
        }
    }

    [GeneratedRegex("<script>(.*?)</script>", RegexOptions.Singleline)]
    private static partial Regex ScriptElements();
}
