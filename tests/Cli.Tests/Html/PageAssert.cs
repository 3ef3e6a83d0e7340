using System.Text.Json;
using Xunit;

namespace KernelGen.Cli.Tests.Html;

/// <summary>What every report must do in a browser.</summary>
internal static class PageAssert
{
    /// <summary>Charts are drawn and named, nothing went wrong, nothing was loaded, and nothing sticks out of the page.</summary>
    public static void Renders(Browser browser, int charts)
    {
        Assert.Empty(browser.Problems);
        Assert.All(browser.Requests, static address => Assert.True(address.StartsWith("file:", StringComparison.Ordinal) || address.StartsWith("data:", StringComparison.Ordinal), address));
        JsonElement[] drawn = [.. browser.Evaluate(
            "[...document.querySelectorAll('.chart')].map(chart => ({ role: chart.getAttribute('role'), name: chart.getAttribute('aria-label'), shapes: chart.querySelectorAll('svg path').length }))").EnumerateArray()];
        Assert.Equal(charts, drawn.Length);
        Assert.All(drawn, static chart =>
        {
            Assert.Equal("img", chart.GetProperty("role").GetString());
            Assert.True(chart.GetProperty("name").GetString()!.Length > 20);
            Assert.True(chart.GetProperty("shapes").GetInt32() > 3);
        });
        Assert.True(browser.Evaluate("document.documentElement.scrollWidth <= innerWidth").GetBoolean(), "The page is wider than its window.");
        Assert.False(browser.Evaluate("/NaN|undefined|Infinity|\\[object/.test(document.body.innerText)").GetBoolean(), "A value was shown that is none.");
    }

    /// <summary>The text of a table's cells, row by row.</summary>
    public static string[][] Table(Browser browser, string caption) => [.. browser.Evaluate(
        $"{Find(caption)}.map(row => [...row.cells].map(cell => cell.textContent))").EnumerateArray()
        .Select(static row => (string[])[.. row.EnumerateArray().Select(static cell => cell.GetString()!)])];

    /// <summary>The unrounded numbers of a table's cells, in reading order.</summary>
    public static double[] Values(Browser browser, string caption) => [.. browser.Evaluate(
        $"{Find(caption)}.flatMap(row => [...row.cells].filter(cell => cell.dataset.value !== undefined).map(cell => Number(cell.dataset.value)))").EnumerateArray()
        .Select(static value => value.GetDouble())];

    private static string Find(string caption) =>
        $"[...document.querySelectorAll('table')].filter(table => table.caption.textContent === {JsonSerializer.Serialize(caption)}).flatMap(table => [...table.tBodies[0].rows])";
}
