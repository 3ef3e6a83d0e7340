using System.Diagnostics;
using System.Globalization;

namespace KernelGen.ConversionBench;

/// <summary>A run of <c>kernelgen quantize</c>, or of any command, with its exit code, messages and peak memory.</summary>
internal sealed class ToolProcess : IDisposable
{
    private readonly Process _process;
    private readonly Task<string> _output;
    private readonly Task<string> _errors;
    private readonly long _started = Stopwatch.GetTimestamp();

    private ToolProcess(string file, IEnumerable<string> arguments)
    {
        _process = Process.Start(new ProcessStartInfo(file, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        _output = _process.StandardOutput.ReadToEndAsync();
        _errors = _process.StandardError.ReadToEndAsync();
    }

    public bool HasExited => _process.HasExited;

    public static ToolProcess Quantize(string tool, string model, string output, long shardBytes) => new(
        tool, ["quantize", "--model", model, "--out", output, "--shard-size", shardBytes.ToString(CultureInfo.InvariantCulture)]);

    public static ToolProcess Start(string file, params string[] arguments) => new(file, arguments);

    /// <summary>Runs a command that must succeed.</summary>
    public static void Require(string file, params string[] arguments)
    {
        using ToolProcess process = new(file, arguments);
        (int code, string errors) = process.Wait();
        if (code != 0)
        {
            throw new InvalidOperationException($"{file} {string.Join(' ', arguments)} ended with {code}: {errors}");
        }
    }

    /// <summary>SIGKILL: the process has no say in it.</summary>
    public void Kill() => _process.Kill();

    public (int ExitCode, string Errors) Wait()
    {
        _process.WaitForExit();
        _ = _output.Result;
        return (_process.ExitCode, _errors.Result.Trim());
    }

    /// <summary>Waits, watching the high-water mark of resident memory that Linux keeps.</summary>
    public (int ExitCode, string Errors, long PeakBytes, double Seconds) WaitWatched()
    {
        long peak = 0;
        while (!_process.WaitForExit(10))
        {
            peak = Math.Max(peak, Peak());
        }

        double seconds = Stopwatch.GetElapsedTime(_started).TotalSeconds;
        (int code, string errors) = Wait();
        return (code, errors, peak, seconds);
    }

    public void Dispose() => _process.Dispose();

    private long Peak()
    {
        try
        {
            string? line = File.ReadLines($"/proc/{_process.Id}/status").FirstOrDefault(static line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
            return line is null ? 0 : 1024 * long.Parse(line.AsSpan()["VmHWM:".Length..^" kB".Length], NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return 0;
        }
    }
}
