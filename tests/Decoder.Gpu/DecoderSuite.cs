using System.Diagnostics;
using System.Globalization;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;

namespace KernelGen.Decoder.Gpu;

/// <summary>Whole models on one device: what is found is printed, what is wrong is counted.</summary>
internal sealed class DecoderSuite(CudaDevice device, string models, TextWriter log)
{
    private int _failures;

    /// <summary>Families with random weights.</summary>
    public static IReadOnlyList<string> Families { get; } =
        ["families/opt-pre-ln", "families/opt-post-ln-projected", "families/bloom", "families/gpt2", "families/gpt-neox", "families/llama-gqa"];

    /// <summary>Trained models that lie in the folder, the smaller one first.</summary>
    public IReadOnlyList<string> Trained => [.. ((string[])["opt-1.5m", "opt-30m-outliers"]).Where(name => Directory.Exists(Folder(name)))];

    public CudaDevice Device => device;

    /// <summary>Runs the checks whose name holds a text.</summary>
    /// <returns>0 if nothing failed.</returns>
    public async Task<int> RunAsync(string filter)
    {
        (string Name, Func<Task> Check)[] checks =
        [
            ("loading", Sync(() => new LoadingChecks(this).Run())),
            ("golden", Sync(() => new GoldenChecks(this).Run())),
            ("perplexity", Sync(() => new PerplexityChecks(this).Run())),
            ("placement", Sync(() => new PlacementChecks(this).Run())),
            ("invariance", () => new ScheduleChecks(this).RunAsync()),
            ("cancellation", () => new CancellationChecks(this).RunAsync()),
        ];
        foreach ((string name, Func<Task> check) in checks.Where(check => check.Name.Contains(filter, StringComparison.Ordinal)))
        {
            long start = Stopwatch.GetTimestamp();
            try
            {
                await check();
            }
            catch (Exception exception)
            {
                Fail($"{name}: {exception}");
            }

            Say($"-- {name}: {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s");
        }

        log.WriteLine(_failures == 0 ? "all passed" : $"{_failures} failed");
        return _failures == 0 ? 0 : 1;
    }

    /// <summary>A prompt and a few tokens by every scheme and family: what a checking tool that slows the device down hundredfold gets through.</summary>
    public int RunBriefly(string filter)
    {
        foreach (string name in Families.Where(name => name.Contains(filter, StringComparison.Ordinal)))
        {
            foreach ((QuantizationScheme scheme, CacheFormat cache) in QuantizationScheme.OnDevices.Select(static scheme => (scheme, CacheFormat.Float16)).Append((QuantizationScheme.Float16, CacheFormat.Int8)))
            {
                using DeviceModel model = Load(name, scheme, new DeviceOptions { MaxBatch = 3, Cache = cache, PrefillChunk = 48 });
                Serving.SteppedTexts texts = new(model, [[1, 2, 3, 4, 5], [.. Enumerable.Range(7, 70)], [9]]);
                Say($"{name} {scheme.Name} {cache}: {string.Join(',', texts.Generate(3).SelectMany(static text => text))}");
            }
        }

        return 0;
    }

    public string Folder(string name) => Path.Combine(models, name);

    public DeviceModel Load(string name, QuantizationScheme scheme, DeviceOptions options) => DeviceModel.Load(Folder(name), device, scheme, options);

    public void Say(FormattableString text) => log.WriteLine(text.ToString(CultureInfo.InvariantCulture));

    public void Fail(FormattableString text)
    {
        _failures++;
        Say($"FAILED {text.ToString(CultureInfo.InvariantCulture)}");
    }

    /// <summary>Says what was found, and counts it as a failure where it is not what it should be.</summary>
    public void Expect(bool condition, FormattableString text)
    {
        if (condition)
        {
            Say(text);
        }
        else
        {
            Fail(text);
        }
    }

    private static Func<Task> Sync(Action check) => () =>
    {
        check();
        return Task.CompletedTask;
    };
}
