using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Quantization;
using Xunit;

namespace KernelGen.Inference.Tests.Conversion;

/// <summary>What is left by conversions that are stopped, disturbed or refused. bench/KernelGen.ConversionBench kills real processes and fills real disks.</summary>
public sealed class InterruptionTests : IDisposable
{
    /// <summary>Small files, so that there are several to be between.</summary>
    private static readonly ConversionOptions s_options = new() { ShardBytes = 200, MemoryBytes = 1, MaxDegreeOfParallelism = 1 };

    private readonly TemporaryFolder _folder = new();
    private readonly string _source;

    public InterruptionTests() => _source = TinyOpt.Write(_folder);

    private string Output => _folder.At("int8");

    private string Partial => Output + ".partial";

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_stopped_run_leaves_nothing_under_the_name_and_is_continued_to_the_same_bytes()
    {
        string expected = await Reference();
        for (int after = 1; after < 12; after += 3)
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => StopAfter(after, Output));
            Assert.False(Directory.Exists(Output));
            Assert.True(Directory.Exists(Partial));
        }

        ConversionResult result = await Convert();
        Assert.True(result.ResumedShards > 0);
        Assert.Equal(expected, Content(Output));
        Assert.False(Directory.Exists(Partial));
    }

    [Fact]
    public async Task What_a_stopped_run_left_is_verified()
    {
        string expected = await Reference();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => StopAfter(9, Output));
        string[] finished = Directory.GetFiles(Path.Combine(Partial, "files"), "model-*");
        Assert.True(finished.Length > 2);

        // One bit, one byte less, a file that nobody knows.
        byte[] bytes = File.ReadAllBytes(finished[0]);
        bytes[^1] ^= 4;
        File.WriteAllBytes(finished[0], bytes);
        File.WriteAllBytes(finished[1], File.ReadAllBytes(finished[1])[..^1]);
        File.WriteAllText(Path.Combine(Partial, "files", "stranger"), "?");
        ConversionResult result = await Convert();

        Assert.Equal(finished.Length - 2, result.ResumedShards);
        Assert.Equal(expected, Content(Output));
    }

    [Fact]
    public async Task A_run_that_was_killed_after_renaming_is_over()
    {
        string expected = await Reference();
        await Convert();
        Directory.CreateDirectory(Partial);
        await Assert.ThrowsAsync<CheckpointException>(() => Convert());

        // As it is left when the process ends between renaming and removing its own files.
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => StopAfter(1, _folder.At("other")));
        string journal = File.ReadAllText(_folder.At("other.partial/journal.json"));
        File.WriteAllText(Path.Combine(Partial, "journal.json"), journal.Replace("\"complete\": false", "\"complete\": true", StringComparison.Ordinal));
        await Convert();
        Assert.Equal(expected, Content(Output));
        Assert.False(Directory.Exists(Partial));
    }

    [Theory]
    [InlineData("change")]
    [InlineData("truncate")]
    [InlineData("delete")]
    [InlineData("replace")]
    public async Task A_source_that_changes_meanwhile_ends_the_run_without_a_result(string how)
    {
        string file = Path.Combine(_source, "model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        CheckpointException error = await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(_source, Output, s_options, new Trigger(3, () =>
        {
            switch (how)
            {
                case "change":
                    using (FileStream stream = new(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
                    {
                        stream.Position = bytes.Length - 1;
                        stream.WriteByte(1);
                    }

                    File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddSeconds(5));
                    break;
                case "truncate":
                    using (FileStream stream = new(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
                    {
                        stream.SetLength(bytes.Length / 2);
                    }

                    break;
                case "delete":
                    File.Delete(file);
                    break;
                default:
                    File.WriteAllBytes(file + ".new", [.. bytes[..^1], 77]);
                    File.SetLastWriteTimeUtc(file + ".new", DateTime.UtcNow.AddSeconds(5));
                    File.Move(file + ".new", file, overwrite: true);
                    break;
            }
        })));

        Assert.Contains(file, error.Message);
        Assert.Contains("changed", error.Message);
        Assert.False(Directory.Exists(Output));
    }

    [Fact]
    public async Task What_was_begun_with_other_options_or_another_source_is_not_continued()
    {
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => StopAfter(9, Output));
        string left = Content(Partial);
        foreach (ConversionOptions options in (ConversionOptions[])
            [s_options with { OutlierThreshold = 5 }, s_options with { ShardBytes = 300 }, s_options with { SkipModules = ["fc1"] }, s_options with { Scheme = QuantizationScheme.Parse("absmax") }])
        {
            Assert.Contains("unfinished conversion", (await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(_source, Output, options))).Message);
        }

        File.SetLastWriteTimeUtc(Path.Combine(_source, "model.safetensors"), DateTime.UtcNow.AddSeconds(5));
        Assert.Contains("unfinished conversion", (await Assert.ThrowsAsync<CheckpointException>(() => Convert())).Message);
        Assert.Equal(left, Content(Partial));
    }

    [Fact]
    public async Task Two_runs_on_one_output_are_refused()
    {
        CheckpointException? refused = null;
        await CheckpointConverter.ConvertAsync(_source, Output, s_options, new Trigger(3, () =>
            refused = Assert.Throws<CheckpointException>(() => Convert().GetAwaiter().GetResult())));

        Assert.Contains("another run is at work", refused?.Message);
        Assert.Equal(await Reference(), Content(Output));
    }

    [Fact]
    public async Task An_output_folder_that_is_somebody_elses_is_left_alone()
    {
        Directory.CreateDirectory(Output);
        File.WriteAllText(Path.Combine(Output, "theirs.txt"), "theirs");
        Assert.Contains("not empty", (await Assert.ThrowsAsync<CheckpointException>(() => Convert())).Message);
        Assert.Equal("theirs", File.ReadAllText(Path.Combine(Output, "theirs.txt")));
        Assert.False(Directory.Exists(Partial));

        File.Delete(Path.Combine(Output, "theirs.txt"));
        Directory.CreateDirectory(Path.Combine(Partial, "files"));
        File.WriteAllText(Path.Combine(Partial, "files", "theirs.txt"), "theirs");
        Assert.Contains("something else", (await Assert.ThrowsAsync<CheckpointException>(() => Convert())).Message);
        Assert.True(File.Exists(Path.Combine(Partial, "files", "theirs.txt")));

        // An empty folder is taken.
        Directory.Delete(Partial, recursive: true);
        await Convert();
        Assert.Equal(await Reference(), Content(Output));
    }

    [Fact]
    public async Task The_source_is_never_written_to()
    {
        string before = Content(_source);
        foreach (string output in (string[])[_source, Path.Combine(_source, "int8")])
        {
            Assert.Contains("in the source's", (await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(_source, output))).Message);
        }

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => StopAfter(9, Output));
        await Convert();
        Assert.Equal(before, Content(_source));
    }

    [SkippableFact]
    public async Task A_folder_that_may_not_be_written_is_named()
    {
        Skip.If(OperatingSystem.IsWindows(), "needs Unix modes");
        string parent = Directory.CreateDirectory(_folder.At("readonly")).FullName;
        SetMode(parent, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        try
        {
            Skip.If(CanWrite(parent), "this user may write everywhere");
            CheckpointException error = await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(_source, Path.Combine(parent, "int8")));
            Assert.Contains("where you may write", error.Message);
        }
        finally
        {
            SetMode(parent, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    [SkippableFact]
    public async Task A_disk_that_is_read_only_is_named()
    {
        // Nobody, not even root, makes folders there.
        Skip.IfNot(OperatingSystem.IsLinux(), "needs /proc");
        CheckpointException error = await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(_source, "/proc/sys/int8"));
        Assert.Contains("/proc/sys/int8", error.Message);
        Assert.Contains("cannot be written", error.Message);
    }

    [SkippableFact]
    public async Task Links_out_of_the_source_are_refused()
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege there");
        _folder.Write("secret.txt", "secret");
        File.CreateSymbolicLink(Path.Combine(_source, "README.md"), "../secret.txt");

        Assert.Contains("leads out of the folder", (await Assert.ThrowsAsync<CheckpointException>(() => Convert())).Message);
        Assert.False(Directory.Exists(Output));
    }

    [Fact]
    public async Task Weights_that_cannot_be_quantized_are_named_and_nothing_is_left_under_the_name()
    {
        string file = Path.Combine(_source, "model.safetensors");
        string layer = "model.decoder.layers.1.fc1.weight";
        using (Checkpoint checkpoint = Checkpoint.Open(_source))
        {
            long at = checkpoint.Tensors[layer].Offset + (((3 * TinyOpt.Hidden) + 2) * 2);
            checkpoint.Dispose();
            using FileStream stream = new(file, FileMode.Open, FileAccess.Write);
            stream.Position = at;
            stream.Write([0x00, 0x7C]);
        }

        string message = (await Assert.ThrowsAsync<CheckpointException>(() => Convert())).Message;
        Assert.Contains($"tensor '{layer}'", message);
        Assert.Contains("Infinity at row 3, column 2", message);
        Assert.False(Directory.Exists(Output));
    }

    [Fact]
    public async Task Options_that_name_what_there_is_not_are_refused()
    {
        Assert.Contains("no module 'fc3'", (await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(_source, Output, new() { SkipModules = ["fc3"] }))).Message);
        Assert.Contains("nothing is left", (await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(_source, Output, new() { SkipModules = ["model"] }))).Message);
        foreach ((string json, string expected) in ((string, string)[])
            [("{\"fc1\":[1]}", "no layer that would be quantized"), ("{\"model.decoder.layers.0.fc1\":[8]}", "8 input features"), ("{\"a\":[1,1]}", "twice"), ("{\"a\":[-1]}", "-1"), ("[]", "Array"), ("{\"a\":1}", "'a' is 1")])
        {
            string file = _folder.Write("outliers.json", json);
            string message = (await Assert.ThrowsAsync<FixedOutlierSetException>(async () =>
                await CheckpointConverter.ConvertAsync(_source, Output, new() { FixedOutliers = FixedOutlierSet.Load(file) }))).Message;
            Assert.Contains(expected, message);
            Assert.Contains(file, message);
        }

        await Assert.ThrowsAsync<ArgumentException>(() => CheckpointConverter.ConvertAsync(_source, Output, new() { Scheme = QuantizationScheme.Parse("fp32") }));
        Assert.False(Directory.Exists(Partial));
    }

    [Fact]
    public async Task An_int8_checkpoint_is_not_converted_again()
    {
        await Convert();
        Assert.Contains("int8 already", (await Assert.ThrowsAsync<CheckpointException>(() => CheckpointConverter.ConvertAsync(Output, _folder.At("twice")))).Message);
    }

    [Fact]
    public void A_checksum_sees_every_bit_and_every_length()
    {
        byte[] bytes = new byte[1000];
        new Random(3).NextBytes(bytes);
        HashSet<string> seen = [Of(bytes)];
        for (int bit = 0; bit < 8 * bytes.Length; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.True(seen.Add(Of(bytes)));
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        byte[] zeros = new byte[100];
        for (int length = 0; length <= zeros.Length; length++)
        {
            Assert.True(seen.Add(Of(zeros[..length])));
        }

        static string Of(byte[] bytes)
        {
            using MemoryStream stream = new(bytes);
            return FileChecksum.Of(stream);
        }
    }

    private Task<ConversionResult> Convert() => CheckpointConverter.ConvertAsync(_source, Output, s_options);

    private async Task<string> Reference()
    {
        string reference = _folder.At("reference");
        await CheckpointConverter.ConvertAsync(_source, reference, s_options);
        return Content(reference);
    }

    private async Task StopAfter(int reports, string output)
    {
        using CancellationTokenSource stop = new();
        await CheckpointConverter.ConvertAsync(_source, output, s_options, new Trigger(reports, stop.Cancel), stop.Token);
    }

    private static void SetMode(string folder, UnixFileMode mode)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(folder, mode);
        }
    }

    private static bool CanWrite(string folder)
    {
        try
        {
            File.WriteAllText(Path.Combine(folder, "probe"), "");
            return true;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string Content(string folder) => string.Join('\n', Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
        .Where(static path => Path.GetFileName(path) != "lock")
        .Order(StringComparer.Ordinal)
        .Select(path => $"{Path.GetRelativePath(folder, path)} {System.Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(path)))}"));

    /// <summary>Does something at the n-th report of progress.</summary>
    private sealed class Trigger(int report, Action action) : IProgress<ConversionProgress>
    {
        private int _count;

        public void Report(ConversionProgress value)
        {
            if (Interlocked.Increment(ref _count) == report)
            {
                action();
            }
        }
    }
}
