using KernelGen.Cli.Html;
using KernelGen.Cli.Output;
using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Cli.Tests.Html;

/// <summary>The tuning report as a browser shows it.</summary>
[Collection(SharedBrowser.Name)]
public sealed class TuningPageTests(Browser browser) : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-page-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [SkippableTheory]
    [InlineData(1200, false, true)]
    [InlineData(1200, true, false)]
    [InlineData(380, true, true)]
    public void It_renders_without_errors_or_requests_at_any_width_and_theme(int width, bool dark, bool ceilings)
    {
        Open(TuningRecords.Create(ceilings: ceilings), width, dark);

        PageAssert.Renders(browser, charts: 4);
        Assert.Equal(dark ? "dark" : "light", browser.Evaluate("document.documentElement.dataset.theme").GetString());
    }

    [SkippableFact]
    public void Its_numbers_are_those_of_the_records()
    {
        TuningRecord[] records = TuningRecords.Create();
        Open(records);

        // By K, N and M: the records come in that order already.
        Assert.Equal(
            [
                ["16x512x768", TuningRecords.Fast + " (as untuned)", "100.5", "1.9", "100.5", "1.00\u00d7", "\u2013", "2 of 3", "1.3"],
                ["1x512x3072", TuningRecords.Fast, "50.5", "0.3", "102.0", "2.02\u00d7", "+102.0 %", "2 of 3", "1.3"],
            ],
            PageAssert.Table(browser, "The chosen variants"));
        Assert.Equal(
            records.SelectMany(static record => (double[])[Timing(record).Median, Timing(record).Spread, record.Find(record.Untuned)!.Timing!.Median, 1.25]),
            PageAssert.Values(browser, "The chosen variants"));
        Assert.Equal([1, 1, 100.5 / 255, 50.5 / 102], PageAssert.Values(browser, "Speed of tiles against the chosen variant"));
        double[] roofline = PageAssert.Values(browser, "Roofline");
        for (int i = 0; i < records.Length; i++)
        {
            double intensity = records[i].Operations / records[i].Bytes;
            double[] expected =
            [
                intensity,
                records[i].Operations / Timing(records[i]).Median / 1e6,
                records[i].Operations / records[i].Find(records[i].Untuned)!.Timing!.Median / 1e6,
                Math.Min(1.5e12, 4e10 * intensity) / 1e12,
            ];
            Assert.Equal(expected, roofline[(4 * i)..(4 * (i + 1))], static (a, b) => Math.Abs(a - b) <= 1e-12 * a);
        }
    }

    [SkippableFact]
    public void The_shape_whose_variants_are_shown_is_chosen_from_the_keyboard()
    {
        Open(TuningRecords.Create());
        Assert.Equal(
            [
                [TuningRecords.Fast, "chosen, as untuned", "100.5", "1.9", "99.0", "103.5", "4", ""],
                [TuningRecords.Slow, "eliminated", "255.0", "5.0", "250.0", "260.0", "2", "2.5 times the best"],
                [TuningRecords.Pruned, "pruned", "\u2013", "\u2013", "\u2013", "\u2013", "\u2013", "a rule of A processor"],
            ],
            PageAssert.Table(browser, "Variants at 16x512x768"));

        browser.Evaluate("document.getElementById('shape').focus()");
        browser.Press("ArrowDown", 40);

        Assert.Empty(PageAssert.Table(browser, "Variants at 16x512x768"));
        Assert.Equal("untuned", PageAssert.Table(browser, "Variants at 1x512x3072")[1][1]);
        PageAssert.Renders(browser, charts: 4);
    }

    [SkippableFact]
    public void Names_from_records_are_shown_as_text()
    {
        Open(TuningRecords.Create(OutlierReports.Hostile));

        PageAssert.Renders(browser, charts: 4);
        Assert.Equal(0, browser.Evaluate("document.images.length").GetInt32());
        Assert.Contains("onerror=alert(2)>", browser.Evaluate("document.getElementById('subtitle').textContent").GetString());
        Assert.Contains("onerror=alert(2)>", PageAssert.Table(browser, "Variants at 16x512x768")[^1][^1]);
    }

    private static TuningTiming Timing(TuningRecord record) => record.Find(record.Chosen)!.Timing!;

    private void Open(TuningRecord[] records, int width = 1200, bool dark = false)
    {
        Skip.If(Browser.Executable is null, "There is no Chromium here; set KERNELGEN_BROWSER.");
        string page = Path.Combine(_folder, "report.html");
        File.WriteAllText(page, HtmlReport.Compose($"Tuning of {records[0].Key.Target.Device.Name}", HtmlReport.Tuning, writer => TuningPageJson.Write(writer, records)));
        browser.Open(page, width, dark);
    }
}
