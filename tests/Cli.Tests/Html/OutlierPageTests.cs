using System.Globalization;
using KernelGen.Cli.Html;
using KernelGen.Cli.Output;
using KernelGen.Inference.Outliers;
using Xunit;

namespace KernelGen.Cli.Tests.Html;

/// <summary>The outlier report as a browser shows it.</summary>
[Collection(SharedBrowser.Name)]
public sealed class OutlierPageTests(Browser browser) : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-page-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [SkippableTheory]
    [InlineData(1200, false)]
    [InlineData(1200, true)]
    [InlineData(380, false)]
    public void It_renders_without_errors_or_requests_at_any_width_and_theme(int width, bool dark)
    {
        Open(OutlierReports.Create(), width, dark);

        PageAssert.Renders(browser, charts: 6);
        Assert.Equal(dark ? "dark" : "light", browser.Evaluate("document.documentElement.dataset.theme").GetString());
    }

    [SkippableFact]
    public void Its_numbers_are_those_of_the_data()
    {
        OutlierReport report = OutlierReports.Create();
        Open(report);

        SystematicFeature feature = report.Features.Single();
        Assert.Equal(
            [["hidden state", "3", "100.0 %", "98.8 %", "\u221252.1", "\u221235.9", "\u221226.1", "61.25", "negative"]],
            PageAssert.Table(browser, "Systematic features"));
        Assert.Equal([3, 1, feature.Statistics.PositionShare, -52.123456, -35.9, -26.1, 61.25], PageAssert.Values(browser, "Systematic features"));
        Assert.Equal([20.0119, 20.1, 20.25, 5123.4567], PageAssert.Values(browser, "Perplexity by zeroed columns"));
        Assert.Equal(["systematic features", "5,123", "256\u00d7", "3"], PageAssert.Table(browser, "Perplexity by zeroed columns")[^1]);
        Assert.Equal(
            report.Trials.SelectMany(static trial => (double[])[trial.Threshold, trial.ColumnShare, trial.Perplexity, trial.ValueShare, trial.RowPerplexity, trial.FixedColumns, trial.FixedPerplexity]),
            PageAssert.Values(browser, "LLM.int8() by threshold"));
        Assert.Equal(
            ["12.5", "2.40 %", Format(report.Trials[2].Perplexity), "+0.06 %", "0.080 %", "20.0350", "+0.12 %", "1 columns", "20.0200", "+0.04 %"],
            PageAssert.Table(browser, "LLM.int8() by threshold")[^1]);
        Assert.Equal(report.Inputs.Count, PageAssert.Table(browser, "Inputs of the linear layers").Length);
    }

    [SkippableFact]
    public void Names_from_files_are_shown_as_text()
    {
        Open(OutlierReports.Create(OutlierReports.Hostile), title: OutlierReports.Hostile, model: OutlierReports.Hostile);

        PageAssert.Renders(browser, charts: 6);
        Assert.Equal(0, browser.Evaluate("document.images.length").GetInt32());
        Assert.Equal(4, browser.Evaluate("document.scripts.length").GetInt32());
        Assert.Contains("<script>alert(1)</script>", browser.Evaluate("document.querySelector('h1').textContent").GetString());
        Assert.Contains("onerror=alert(2)>", browser.Evaluate("document.getElementById('subtitle').textContent").GetString());
        Assert.Contains("onerror=alert(2)>", PageAssert.Table(browser, "Fixed outlier columns")[0][0]);
    }

    [SkippableFact]
    public void The_theme_is_changed_from_the_keyboard_and_the_charts_follow()
    {
        Open(OutlierReports.Create());
        string colors = Colors();

        browser.Press("Tab", 9);
        Assert.Equal("Skip to the report", browser.Evaluate("document.activeElement.textContent").GetString());
        browser.Press("Tab", 9);
        Assert.Equal("Dark theme", browser.Evaluate("document.activeElement.textContent").GetString());
        browser.Press("Enter", 13, "\r");

        Assert.Equal("dark", browser.Evaluate("document.documentElement.dataset.theme").GetString());
        Assert.Equal("Light theme", browser.Evaluate("document.activeElement.textContent").GetString());
        Assert.NotEqual(colors, Colors());
        browser.Press("Enter", 13, "\r");
        Assert.Equal(colors, Colors());
        PageAssert.Renders(browser, charts: 6);

        string Colors() => browser.Evaluate("getComputedStyle(document.body).color + [...document.querySelectorAll('.chart svg text')].map(text => text.getAttribute('fill')).join()").GetString()!;
    }

    [SkippableFact]
    public void A_model_without_outliers_has_a_page_too()
    {
        Open(OutlierReports.WithoutOutliers());

        PageAssert.Renders(browser, charts: 2);
        Assert.Contains("none on this text", browser.Evaluate("document.body.textContent").GetString());
    }

    private static string Format(double value) => value.ToString("0.0000", CultureInfo.InvariantCulture);

    private void Open(OutlierReport report, int width = 1200, bool dark = false, string title = "Outliers", string model = "model")
    {
        Skip.If(Browser.Executable is null, "There is no Chromium here; set KERNELGEN_BROWSER.");
        string page = Path.Combine(_folder, "report.html");
        File.WriteAllText(page, HtmlReport.Compose(title, HtmlReport.Outliers, writer => OutlierJson.Write(writer, model, "text.txt", report)));
        browser.Open(page, width, dark);
    }
}
