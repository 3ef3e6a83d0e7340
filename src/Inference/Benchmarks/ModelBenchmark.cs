using System.Diagnostics;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Serving;

namespace KernelGen.Inference.Benchmarks;

/// <summary>What is measured of a model on a device.</summary>
internal sealed record ModelBenchmarkOptions
{
    /// <summary>Numbers of texts that are decoded together.</summary>
    public required IReadOnlyList<int> Batches { get; init; }

    /// <summary>Positions in the cache when decoding begins.</summary>
    public required int Context { get; init; }

    /// <summary>Tokens of the prompt that is timed; 0 for none.</summary>
    public required int Prompt { get; init; }

    /// <summary>How keys and values are held.</summary>
    public CacheFormat Cache { get; init; }

    /// <summary>Decoding steps that are timed.</summary>
    public int Steps { get; init; } = 64;

    /// <summary>Prompts that are timed.</summary>
    public int Prompts { get; init; } = 7;

    /// <summary>What the device is to be laid out for.</summary>
    public DeviceOptions ToDeviceOptions()
    {
        int longest = Math.Max(Prompt, Context + Steps + 1);
        long perText = DeviceScheme.RoundUp(Context + Steps + 1, DecoderRow.PageSize);
        return new DeviceOptions
        {
            MaxBatch = Batches.Max(),
            MaxContext = longest,
            PrefillChunk = longest,
            Cache = Cache,
            CacheTokens = Math.Max(Batches.Max() * perText, DeviceScheme.RoundUp(Prompt, DecoderRow.PageSize)),
        };
    }
}

/// <summary>A time of a model on a device.</summary>
/// <param name="Operation"><c>decode</c> or <c>prefill</c>.</param>
/// <param name="Batch">Texts at once.</param>
/// <param name="Tokens">Tokens that one sample runs.</param>
/// <param name="Context">Positions in the cache before the first sample.</param>
/// <param name="MedianMilliseconds">The middle sample, from the host's call to its result.</param>
/// <param name="MinimumMilliseconds">The fastest sample.</param>
internal sealed record ModelTiming(string Operation, int Batch, int Tokens, int Context, double MedianMilliseconds, double MinimumMilliseconds)
{
    public double TokensPerSecond => Tokens / MedianMilliseconds * 1000;
}

/// <summary>Times a model's steps on a device, as a caller sees them: with the host's part, and with real keys and values in the cache.</summary>
internal static class ModelBenchmark
{
    private const int WarmUpSteps = 4;

    private static readonly GenerationOptions Greedy = new();

    /// <summary>Times; a result comes as soon as it is measured.</summary>
    public static IEnumerable<ModelTiming> Run(DeviceModel model, ModelBenchmarkOptions options)
    {
        if (options.Prompt > 0)
        {
            yield return Prefill(model, options);
        }

        foreach (int batch in options.Batches)
        {
            yield return Decode(model, options, batch);
        }
    }

    private static ModelTiming Prefill(DeviceModel model, ModelBenchmarkOptions options)
    {
        int[] prompt = Tokens(model, options.Prompt, 0);
        model.Executor.Place(0, [.. Enumerable.Range(0, DecoderRow.PagesFor(options.Prompt))]);
        double[] times = new double[options.Prompts];
        for (int i = -2; i < times.Length; i++)
        {
            long start = Stopwatch.GetTimestamp();
            Check(model.Executor.Prefill(0, prompt, 0, isLast: true, Greedy));
            if (i >= 0)
            {
                times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            }
        }

        return Timing("prefill", 1, options.Prompt, 0, times);
    }

    private static ModelTiming Decode(DeviceModel model, ModelBenchmarkOptions options, int batch)
    {
        CudaStepExecutor executor = model.Executor;
        int perText = DecoderRow.PagesFor(options.Context + options.Steps + 1);
        DecodeRow[] rows = new DecodeRow[batch];
        for (int i = 0; i < batch; i++)
        {
            executor.Place(i, [.. Enumerable.Range(i * perText, perText)]);
            int token = executor.Prefill(i, Tokens(model, options.Context, i), 0, isLast: true, Greedy);
            Check(token);
            rows[i] = new DecodeRow(i, token, options.Context, Greedy);
        }

        int[] next = new int[batch];
        double[] times = new double[options.Steps];
        for (int step = -WarmUpSteps; step < times.Length; step++)
        {
            long start = Stopwatch.GetTimestamp();
            executor.Decode(rows, next);
            double elapsed = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            for (int i = 0; i < batch; i++)
            {
                Check(next[i]);

                // The first steps warm up in place.
                rows[i] = rows[i] with { Token = next[i], Position = options.Context + Math.Max(0, step + 1) };
            }

            if (step >= 0)
            {
                times[step] = elapsed;
            }
        }

        return Timing("decode", batch, batch, options.Context, times);
    }

    private static int[] Tokens(DeviceModel model, int count, int seed)
    {
        Random random = new(seed);
        int[] tokens = new int[count];
        foreach (ref int token in tokens.AsSpan())
        {
            token = random.Next(model.Description.VocabularySize);
        }

        return tokens;
    }

    private static void Check(int token)
    {
        if (token == IStepExecutor.NoToken)
        {
            throw new InvalidOperationException("The model's logits are not finite: nothing is measured.");
        }
    }

    private static ModelTiming Timing(string operation, int batch, int tokens, int context, double[] times)
    {
        Array.Sort(times);
        return new ModelTiming(operation, batch, tokens, context, times[times.Length / 2], times[0]);
    }
}
