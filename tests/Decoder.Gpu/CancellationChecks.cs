using System.Diagnostics;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Serving;

namespace KernelGen.Decoder.Gpu;

/// <summary>Ten thousand requests, a third of them cancelled at random: nothing is lost.</summary>
internal sealed class CancellationChecks(DecoderSuite suite)
{
    private const int Requests = 10_000;

    public async Task RunAsync()
    {
        using DeviceModel model = suite.Load("opt-1.5m", QuantizationScheme.Parse("llm-int8"), new DeviceOptions { MaxBatch = 32, MaxContext = 128 });

        // Every graph is captured before memory is compared.
        await ServeAsync(model, 500);
        long before = model.Context.Memory().Free, managed = GC.GetTotalMemory(true), start = Stopwatch.GetTimestamp();
        (int finished, int cancelled, long tokens) = await ServeAsync(model, Requests);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        long lost = before - model.Context.Memory().Free, grown = GC.GetTotalMemory(true) - managed;
        suite.Expect(
            lost <= 0 && grown < 8 << 20,
            $"{Requests} requests ({finished} finished, {cancelled} cancelled, {tokens} tokens in {seconds:0.0} s): {lost} bytes of the device and {grown} managed bytes are not back");
    }

    private async Task<(int Finished, int Cancelled, long Tokens)> ServeAsync(DeviceModel model, int requests)
    {
        int finished = 0, cancelled = 0;
        long tokens = 0;
        GenerationEngine engine = model.StartEngine();
        await Parallel.ForEachAsync(Enumerable.Range(0, requests), new ParallelOptions { MaxDegreeOfParallelism = 96 }, async (i, stopping) =>
        {
            Random random = new(i);
            int[] prompt = [.. Enumerable.Range(0, 1 + random.Next(60)).Select(unused => random.Next(model.Description.VocabularySize))];
            int count = 1 + random.Next(12), stop = random.Next(3) == 0 ? random.Next(count) : int.MaxValue, got = 0;
            using CancellationTokenSource cancellation = CancellationTokenSource.CreateLinkedTokenSource(stopping);
            if (stop == 0)
            {
                cancellation.CancelAfter(random.Next(20));
            }

            try
            {
                await foreach (int token in engine.GenerateAsync(prompt, new() { MaxNewTokens = count, StopAtEndOfSequence = false }, cancellation.Token))
                {
                    _ = Interlocked.Increment(ref tokens);
                    if (++got == stop)
                    {
                        await cancellation.CancelAsync();
                    }
                }

                _ = Interlocked.Increment(ref finished);
            }
            catch (OperationCanceledException)
            {
                _ = Interlocked.Increment(ref cancelled);
            }
        });
        await engine.DisposeAsync();
        (int pages, int slots) = engine.Free;
        if (pages != model.Executor.Pages || slots != model.Executor.Slots)
        {
            suite.Fail($"{model.Executor.Pages - pages} pages and {model.Executor.Slots - slots} slots were not given back");
        }

        return (finished, cancelled, tokens);
    }
}
