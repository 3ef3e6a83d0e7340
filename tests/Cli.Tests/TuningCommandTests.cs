using System.Diagnostics;
using System.Text;
using System.Text.Json;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Cli.Tests;

/// <summary><c>autotune</c> and <c>tuning</c>, with a cache folder of their own.</summary>
[Collection(nameof(TuningCommandTests))]
[CollectionDefinition(nameof(TuningCommandTests), DisableParallelization = true)]
public sealed class TuningCommandTests : IDisposable
{
    private readonly string _cache = Path.Combine(Path.GetTempPath(), $"kernelgen-cache-{Guid.NewGuid():N}");
    private readonly string? _before = Environment.GetEnvironmentVariable(CacheFolder.Variable);

    public TuningCommandTests() => Environment.SetEnvironmentVariable(CacheFolder.Variable, _cache);

    private string Records => Path.Combine(_cache, "tuning", "v1");

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(CacheFolder.Variable, _before);
        if (Directory.Exists(_cache))
        {
            Directory.Delete(_cache, recursive: true);
        }
    }

    [Fact]
    public void Autotune_writes_the_records_that_it_stores()
    {
        ToolRun run = ToolRun.InProcess("autotune", "--shapes", "1x64x48,20x64x48,1x64x48", "--json");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        TuningRecord[] records = [.. run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => TuningRecordJson.Read(Encoding.UTF8.GetBytes(line)))];
        Assert.Equal([(1, 48, 64), (20, 48, 64)], records.Select(static record => (record.Rows, record.Key.N, record.Key.K)));
        Assert.Equal(records.Select(static record => record.Key.Id()).Order(), Directory.GetFiles(Records).Select(static file => Path.GetFileNameWithoutExtension(file)).Order());
        Assert.All(records, static record =>
        {
            Assert.True(record.Ceilings!.BytesPerSecond > 0 && record.Ceilings.Int8OperationsPerSecond > 0 && record.Ceilings.FloatOperationsPerSecond > 0);
            Assert.NotNull(record.Find(record.Untuned)!.Timing);
        });
    }

    [Fact]
    public void Autotune_of_a_model_takes_each_layer_size_once_and_missing_goes_on()
    {
        ToolRun first = ToolRun.InProcess("autotune", "--model", ToolRun.Model, "--m", "1");
        Assert.Equal((0, ""), (first.ExitCode, first.Error));
        Assert.Contains("3 of 3 shapes tuned.", first.Output, StringComparison.Ordinal);
        ToolRun second = ToolRun.InProcess("autotune", "--model", ToolRun.Model, "--m", "1,2", "--missing");
        Assert.Contains("3 of 6 shapes tuned. 3 had a record.", second.Output, StringComparison.Ordinal);
        ToolRun third = ToolRun.InProcess("autotune", "--model", ToolRun.Model, "--m", "1,2", "--missing", "--json");
        Assert.Equal((0, "", ""), (third.ExitCode, third.Output, third.Error));
    }

    [Fact]
    public void A_budget_that_is_spent_begins_no_further_shape()
    {
        ToolRun run = ToolRun.InProcess("autotune", "--shapes", "1x64x48,2x64x48,5x64x48", "--budget", "0.000001");
        Assert.Equal(0, run.ExitCode);
        Assert.Contains("0 of 3 shapes tuned. 3 are left", run.Output, StringComparison.Ordinal);
    }

    [SkippableFact]
    public void Stopping_keeps_what_is_done()
    {
        Skip.If(InterruptsAreIgnored(), "This process was started with SIGINT ignored, as shells start background jobs, and so are those that it starts.");
        using Process process = Start("autotune", "--shapes", string.Join(',', Enumerable.Range(1, 2000).Select(static k => $"1x{k}x32")), "--json");
        string? first = process.StandardOutput.ReadLine();
        Assert.NotNull(first);
        Process.Start("kill", ["-INT", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)])!.WaitForExit();
        string[] lines = [first, .. process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries)];
        process.WaitForExit();
        Assert.Equal(130, process.ExitCode);
        Assert.InRange(lines.Length, 1, 1999);
        TuningContent content = new TuningDatabase(Records).Load();
        Assert.Null(content.Warning);
        Assert.Equal(lines.Length, content.Records.Count);
    }

    [Fact]
    public void Processes_that_tune_at_once_and_are_killed_lose_no_finished_record()
    {
        const int Processes = 4, Rounds = 2;
        Random random = new(1);
        HashSet<string> finished = [];
        for (int round = 0; round < Rounds; round++)
        {
            // Half of the shapes are the same for all.
            Process[] processes = [.. Enumerable.Range(0, Processes).Select(i => Start(
                "autotune", "--shapes", string.Join(',', Enumerable.Range(1, 500).Select(k => k % 2 == 0 ? $"1x{k}x16" : $"1x{k}x{17 + i}")), "--json"))];
            Task<string>[] outputs = [.. processes.Select(static process => process.StandardOutput.ReadToEndAsync())];
            Thread.Sleep(3000);
            foreach (Process process in processes)
            {
                Thread.Sleep(random.Next(200));
                process.Kill();
                process.WaitForExit();
            }

            foreach (string line in outputs.SelectMany(static output => output.Result.Split('\n')[..^1]))
            {
                finished.Add(TuningRecordJson.Read(Encoding.UTF8.GetBytes(line)).Key.Id());
            }

            Array.ForEach(processes, static process => process.Dispose());
            TuningContent content = new TuningDatabase(Records).Load();
            Assert.Null(content.Warning);
            Assert.Subset(content.Records.Select(static record => record.Key.Id()).ToHashSet(), finished);
        }
    }

    [Fact]
    public void Records_are_listed_shown_exported_cleared_and_imported()
    {
        ToolRun.InProcess("autotune", "--shapes", "1x64x48,20x64x48", "--json");
        JsonElement[] own = [.. ToolRun.InProcess("tuning", "list", "--json").JsonLines.Where(static line => line.GetProperty("from").GetString() == "user")];
        Assert.Equal(2, own.Length);
        Assert.All(own, static line => Assert.Equal("yes", line.GetProperty("used_here").GetString()));
        Assert.Contains("2 records of this user", ToolRun.InProcess("tuning", "list").Output, StringComparison.Ordinal);

        string id = own[0].GetProperty("id").GetString()!;
        ToolRun shown = ToolRun.InProcess("tuning", "show", id[..10], "--json");
        Assert.Equal(id, TuningRecordJson.Read(Encoding.UTF8.GetBytes(shown.Output.TrimEnd('\n'))).Key.Id());
        Assert.Contains("chosen", ToolRun.InProcess("tuning", "show", id).Output, StringComparison.Ordinal);
        ToolRun none = ToolRun.InProcess("tuning", "show", "zz");
        Assert.Equal(2, none.ExitCode);
        Assert.Contains("'zz'", none.Error, StringComparison.Ordinal);

        string file = Path.Combine(_cache, "export.json"), compact = Path.Combine(_cache, "compact.json");
        Assert.Equal(0, ToolRun.InProcess("tuning", "export", file).ExitCode);
        Assert.Equal(0, ToolRun.InProcess("tuning", "export", compact, "--compact").ExitCode);
        Assert.True(new FileInfo(compact).Length < new FileInfo(file).Length);
        ToolRun again = ToolRun.InProcess("tuning", "export", file);
        Assert.Equal(2, again.ExitCode);
        Assert.Contains("exists", again.Error, StringComparison.Ordinal);
        Assert.Equal("2 records deleted.\n", ToolRun.InProcess("tuning", "clear").Output);
        Assert.Empty(Directory.GetFiles(Records));
        Assert.StartsWith("2 of 2 records imported", ToolRun.InProcess("tuning", "import", file).Output, StringComparison.Ordinal);
        Assert.StartsWith("0 of 2 records imported", ToolRun.InProcess("tuning", "import", compact).Output, StringComparison.Ordinal);

        File.WriteAllText(file, File.ReadAllText(file).Replace("\"m\":20", "\"m\":21", StringComparison.Ordinal));
        ToolRun damaged = ToolRun.InProcess("tuning", "import", file);
        Assert.Equal(2, damaged.ExitCode);
        Assert.Contains("checksum", damaged.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_record_gives_one_note_and_is_written_anew()
    {
        ToolRun.InProcess("autotune", "--shapes", "1x64x48", "--json");
        string file = Assert.Single(Directory.GetFiles(Records));
        File.WriteAllText(file, "{}");
        ToolRun listed = ToolRun.InProcess("tuning", "list", "--json");
        Assert.Equal(0, listed.ExitCode);
        Assert.Single(listed.Error.TrimEnd('\n').Split('\n'));
        Assert.Contains("damaged or foreign", listed.Error, StringComparison.Ordinal);
        Assert.Contains("damaged or foreign", ToolRun.InProcess("autotune", "--shapes", "1x64x48", "--json").Error, StringComparison.Ordinal);
        Assert.Equal("", ToolRun.InProcess("tuning", "list", "--json").Error);
        Assert.True(new FileInfo(file).Length > 100);
    }

    [Theory]
    [InlineData("--model", "autotune")]
    [InlineData("--shapes", "autotune", "--shapes", "1x2")]
    [InlineData("--shapes", "autotune", "--shapes", "1x64x48", "--m", "1")]
    [InlineData("--m", "autotune", "--model", "{model}", "--m", "0")]
    [InlineData("--spec", "autotune", "--shapes", "1x64x48", "--spec", "Nothing")]
    [InlineData("--device", "autotune", "--shapes", "1x64x48", "--device", "tpu")]
    [InlineData("--output", "autotune", "--shapes", "1x64x48", "--output", "int4")]
    [InlineData("--budget", "autotune", "--shapes", "1x64x48", "--budget", "0")]
    [InlineData("no-such-file", "tuning", "import", "no-such-file")]
    [InlineData("no-such-file", "bench", "--shapes", "1x64x48", "--against", "no-such-file")]
    [InlineData("--json", "bench", "--shapes", "1x64x48", "--against", "{text}", "--json")]
    [InlineData("line 1", "bench", "--shapes", "1x64x48", "--against", "{text}")]
    public void Bad_input_is_named(string named, params string[] args)
    {
        ToolRun run = ToolRun.InProcess([.. args.Select(static arg => arg.Replace("{model}", ToolRun.Model, StringComparison.Ordinal).Replace("{text}", ToolRun.Text, StringComparison.Ordinal))]);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains(named, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void An_export_that_cannot_be_written_names_the_folder_to_make()
    {
        string file = Path.Combine(_cache, "no-such-folder", "x");
        ToolRun run = ToolRun.InProcess("tuning", "export", file);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Equal($"kernelgen: FILE: there is no folder '{Path.GetDirectoryName(file)}' to write 'x' to. Make it first.\n", run.Error);
    }

    [Theory]
    [InlineData("autotune", "--shapes", "1x64x48")]
    [InlineData("tuning", "import", "{export}")]
    public void A_cache_that_cannot_be_written_says_how_to_move_it_before_anything_is_tuned(params string[] args)
    {
        ToolRun.InProcess("autotune", "--shapes", "1x64x48", "--json");
        string export = Path.Combine(_cache, "export.json"), file = Path.Combine(_cache, "file");
        Assert.Equal(0, ToolRun.InProcess("tuning", "export", export).ExitCode);
        File.WriteAllText(file, "");
        ToolRun run = ToolRun.InShell($"XDG_CACHE_HOME={file} KERNELGEN_CACHE= $KERNELGEN {string.Join(' ', args).Replace("{export}", export, StringComparison.Ordinal)}");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.StartsWith($"kernelgen: the folder of the tuning records, '{Path.Combine(file, "kernelgen", "tuning", "v1")}', cannot be written (", run.Error, StringComparison.Ordinal);
        Assert.EndsWith("). Set KERNELGEN_CACHE to a folder that may be written.\n", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_cache_that_fails_later_says_how_to_move_it()
    {
        Directory.CreateDirectory(_cache);
        TuningDatabase database = new(Records);
        string message = Assert.Throws<OutputFailedException>(() => UserRecords.Store(database, static () => throw new IOException("No space left on device"))).Message;
        Assert.Contains($"'{Records}' (No space left on device)", message, StringComparison.Ordinal);
        Assert.Contains("KERNELGEN_CACHE", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bench_against_a_file_puts_theirs_beside_ours()
    {
        string file = Path.Combine(AppContext.BaseDirectory, "peers.jsonl");
        File.WriteAllText(file, """
            {"limit":"f32_fma","threads":1,"x_best":1}
            {"peer":"onednn","op":"s8s8s32","M":20,"K":64,"N":48,"threads":1,"weights":"hot","us_median":1000000}
            {"peer":"ort","op":"dyn_f32_u8","M":20,"K":64,"N":48,"threads":1,"weights":"hot","us_median":2000000}
            {"peer":"ort","op":"dyn_f32_u8","M":20,"K":64,"N":48,"threads":1,"weights":"hot","us_median":3000000}
            {"peer":"ort","op":"dyn_f32_u8","M":20,"K":64,"N":48,"threads":2,"weights":"hot","us_median":4}
            """);
        ToolRun run = ToolRun.InProcess("bench", "--shapes", "20x64x48", "--seconds", "0.001", "--reps", "1", "--against", file);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        string[] rows = run.Output.TrimEnd('\n').Split('\n');
        Assert.Equal(3, rows.Length);
        Assert.Contains("kernelgen/dyn_f32_llmint8", rows[1], StringComparison.Ordinal);
        Assert.Contains("ort/dyn_f32_u8", rows[2], StringComparison.Ordinal);
        Assert.Contains("2000000.0", rows[2], StringComparison.Ordinal);
    }

    private Process Start(params string[] args)
    {
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "kernelgen.dll"), .. args]) { RedirectStandardOutput = true };
        start.Environment[CacheFolder.Variable] = _cache;
        return Process.Start(start)!;
    }

    /// <summary>Bit 1 of the mask of ignored signals is SIGINT's.</summary>
    private static bool InterruptsAreIgnored() => File.Exists("/proc/self/status")
        && File.ReadLines("/proc/self/status").First(static line => line.StartsWith("SigIgn:", StringComparison.Ordinal)) is { } mask
        && (Convert.ToUInt64(mask["SigIgn:".Length..].Trim(), 16) & 2) != 0;
}
