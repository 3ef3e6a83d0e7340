using System.Text.Json;
using System.Text.RegularExpressions;
using Xunit;

namespace KernelGen.Cli.Tests.Html;

/// <summary><c>kernelgen autotune --report</c>, with a cache folder of its own.</summary>
public sealed class AutotuneReportTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-autotune-report-").FullName;

    private string Page => Path.Combine(_folder, "report.html");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_page_holds_the_records_of_all_shapes_asked_for_new_or_known_already()
    {
        JsonElement known = Autotune("--shapes 4x64x64").JsonLines.Single();
        Assert.False(File.Exists(Page));
        ToolRun run = Autotune($"--shapes 4x64x64,4x64x128 --missing --report {Page}");
        JsonElement tuned = run.JsonLines.Single();

        Assert.Contains(Page, run.Error);
        Match data = Regex.Match(File.ReadAllText(Page), "<script type=\"application/json\" id=\"data\">(.*?)</script>", RegexOptions.Singleline);
        JsonElement[] held = [.. JsonElement.Parse(data.Groups[1].Value).GetProperty("records").EnumerateArray()];
        Assert.Equal(2, held.Length);
        Assert.True(JsonElement.DeepEquals(known, held[0]));
        Assert.True(JsonElement.DeepEquals(tuned, held[1]));
    }

    [Fact]
    public void A_page_that_cannot_be_written_is_refused_before_anything_is_tuned()
    {
        ToolRun run = ToolRun.InProcess("autotune", "--shapes", "4x64x64", "--report", Path.Combine(_folder, "no-such-folder", "report.html"));
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("no-such-folder", run.Error);
    }

    [Fact]
    public void A_page_is_replaced_by_the_same_command_with_missing_and_no_other_file_is()
    {
        Autotune($"--shapes 4x64x64 --report {Page}");
        Autotune($"--shapes 4x64x64,4x64x128 --missing --report {Page}");
        Assert.Equal([Page], Directory.GetFiles(_folder));

        File.WriteAllText(Page, "<!DOCTYPE html>mine");
        ToolRun run = ToolRun.InProcess("autotune", "--shapes", "4x64x64", "--report", Page);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Equal($"kernelgen: --report: '{Page}' exists and is no page that this command wrote. Name a new file.\n", run.Error);
        Assert.Equal("<!DOCTYPE html>mine", File.ReadAllText(Page));
    }

    [Fact]
    public void A_page_is_not_written_into_the_model()
    {
        using ModelCopy model = new();
        byte[] before = File.ReadAllBytes(model.At("config.json"));
        ToolRun run = ToolRun.InProcess("autotune", "--model", model.Folder, "--report", model.At("config.json"));
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("inside the folder of --model", run.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(model.At("config.json")));
    }

    private ToolRun Autotune(string options)
    {
        ToolRun run = ToolRun.InShell($"KERNELGEN_CACHE={_folder}/cache $KERNELGEN autotune --json {options}");
        Assert.Equal(0, run.ExitCode);
        return run;
    }
}
