using KernelGen.Inference.Serving;
using KernelGen.Inference.Transformers;
using Xunit;

namespace KernelGen.Inference.Tests.Serving;

public class GenerationEngineTests
{
    private static readonly DecoderDescription Description = new()
    {
        Family = "fake",
        TensorPrefixes = [""],
        VocabularySize = FakeExecutor.Vocabulary,
        ContextLength = 64,
        HiddenSize = 8,
        Heads = 1,
        KeyValueHeads = 1,
        HeadSize = 8,
        TokenEmbedding = new("tokens", FakeExecutor.Vocabulary, 8),
        Positions = AlibiPositions.ForHeads(1),
        Layers = [],
        FinalNorm = null,
        OutputEmbedding = null,
        EndOfSequenceTokens = [],
    };

    [Fact]
    public async Task Many_callers_at_once_each_get_their_own_text()
    {
        const int Requests = 200, Callers = 24;
        int begun = 0, ended = 0;

        // A step of the fake takes no time: without this it is done with a text before the next caller has come, on a machine that is busy.
        FakeExecutor executor = new()
        {
            BeforeStep = () => SpinWait.SpinUntil(
                () => Volatile.Read(ref begun) - Volatile.Read(ref ended) >= Math.Min(Callers, Requests - Volatile.Read(ref ended)), TimeSpan.FromSeconds(10)),
        };
        await using GenerationEngine engine = new(Description, executor);
        await Parallel.ForEachAsync(Enumerable.Range(0, Requests), new ParallelOptions { MaxDegreeOfParallelism = Callers }, async (i, cancellation) =>
        {
            int[] prompt = Prompt(1 + (i % 30), i);
            int count = 1 + (i % 17);
            Task<List<int>> text = Read(engine.GenerateAsync(prompt, new() { MaxNewTokens = count }, cancellation));
            Interlocked.Increment(ref begun);
            List<int> tokens = await text;
            Interlocked.Increment(ref ended);
            Assert.Equal(FakeExecutor.Text(prompt, count), tokens);
        });
        Assert.Contains(executor.Slots, executor.Batches);
    }

    [Fact]
    public async Task Ten_thousand_requests_with_random_cancellations_leak_nothing()
    {
        const int Requests = 10_000;
        FakeExecutor executor = new(slots: 8, pages: 40);
        GenerationEngine engine = new(Description, executor);
        int cancelled = 0, left = 0, finished = 0;
        await Parallel.ForEachAsync(Enumerable.Range(0, Requests), new ParallelOptions { MaxDegreeOfParallelism = 64 }, async (i, _) =>
        {
            Random random = new(i);
            int[] prompt = Prompt(1 + random.Next(40), i);
            int count = 1 + random.Next(20), stop = random.Next(3) == 0 ? random.Next(count + 1) : int.MaxValue;
            bool byToken = random.Next(2) == 0;
            using CancellationTokenSource cancellation = new();
            List<int> tokens = [];
            if (stop == 0 && byToken)
            {
                await cancellation.CancelAsync();
            }

            try
            {
                await foreach (int token in engine.GenerateAsync(prompt, new() { MaxNewTokens = count }, cancellation.Token))
                {
                    tokens.Add(token);
                    if (tokens.Count >= stop)
                    {
                        if (!byToken)
                        {
                            Interlocked.Increment(ref left);
                            break;
                        }

                        await cancellation.CancelAsync();
                    }
                }

                if (stop == int.MaxValue)
                {
                    Interlocked.Increment(ref finished);
                    Assert.Equal(count, tokens.Count);
                }
            }
            catch (OperationCanceledException)
            {
                Interlocked.Increment(ref cancelled);
                Assert.True(byToken && stop <= count);
            }

            // What came before the end is right whatever happened around it.
            Assert.Equal(FakeExecutor.Text(prompt, tokens.Count), tokens);
        });
        Assert.True(cancelled > 500 && left > 500 && finished > 5000, $"{cancelled} cancelled, {left} left, {finished} finished");

        // Whoever was told to stop may still be in the step that runs.
        int[] last = await Read(engine.GenerateAsync([1], new() { MaxNewTokens = 3 })) is { } tokens ? [.. tokens] : [];
        Assert.Equal(FakeExecutor.Text([1], 3), last);
        await engine.DisposeAsync();
        Assert.Equal((executor.Pages, executor.Slots), engine.Free);
    }

    [Fact]
    public async Task Leaving_the_enumeration_stops_the_text()
    {
        FakeExecutor executor = new(slots: 1, pages: 16);
        await using GenerationEngine engine = new(Description, executor);
        await foreach (int token in engine.GenerateAsync([1], new() { MaxNewTokens = 60 }))
        {
            Assert.Equal(FakeExecutor.Next([1]), token);
            break;
        }

        // The only slot is free again.
        Assert.Equal(FakeExecutor.Text([2], 60), await Read(engine.GenerateAsync([2], new() { MaxNewTokens = 60 })));
    }

    [Fact]
    public async Task Cancellation_ends_a_text_and_one_that_waits()
    {
        using ManualResetEventSlim gate = new(false);
        FakeExecutor executor = new(slots: 1) { BeforeStep = gate.Wait };
        await using GenerationEngine engine = new(Description, executor);
        using CancellationTokenSource running = new(), waiting = new();
        Task<List<int>> first = Read(engine.GenerateAsync([1], new() { MaxNewTokens = 50 }, running.Token));
        Task<List<int>> second = Read(engine.GenerateAsync([2], new() { MaxNewTokens = 50 }).WithCancellation(waiting.Token));
        await waiting.CancelAsync();
        await running.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);
        gate.Set();
        Assert.Equal(FakeExecutor.Text([3], 4), await Read(engine.GenerateAsync([3], new() { MaxNewTokens = 4 })));
    }

    [Fact]
    public async Task A_device_that_fails_fails_all_requests_and_every_later_one()
    {
        int steps = 0;
        FakeExecutor executor = new() { BeforeStep = () => _ = ++steps == 5 ? throw new IOException("the device is gone") : 0 };
        bool released = false;
        GenerationEngine engine = new(Description, executor, () => released = true);
        Task<List<int>>[] requests = [.. Enumerable.Range(1, 8).Select(i => Read(engine.GenerateAsync(Prompt(3, i), new() { MaxNewTokens = 30 })))];
        foreach (Task<List<int>> request in requests)
        {
            Assert.Equal("the device is gone", (await Assert.ThrowsAsync<IOException>(() => request)).Message);
        }

        Assert.Equal("the device is gone", (await Assert.ThrowsAsync<IOException>(() => Read(engine.GenerateAsync([1])))).Message);
        await engine.DisposeAsync();
        Assert.True(released);
        Assert.Equal((executor.Pages, executor.Slots), engine.Free);
    }

    [Fact]
    public async Task Disposing_ends_what_runs_and_refuses_what_comes()
    {
        using SemaphoreSlim started = new(0);
        FakeExecutor executor = new() { BeforeStep = () => { _ = started.Release(); Thread.Sleep(1); } };
        GenerationEngine engine = new(Description, executor);
        Task<List<int>> request = Read(engine.GenerateAsync([1], new() { MaxNewTokens = 64 }));
        await started.WaitAsync();
        await engine.DisposeAsync();
        await engine.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => request);
        Assert.Throws<ObjectDisposedException>(() => engine.GenerateAsync([1]));
    }

    [Fact]
    public async Task A_request_that_cannot_fit_is_refused_with_what_would()
    {
        await using GenerationEngine engine = new(Description, new FakeExecutor(pages: 5, pageSize: 4));
        ArgumentException exception = Assert.Throws<ArgumentException>(() => engine.GenerateAsync(Prompt(10, 1), new() { MaxNewTokens = 12 }));
        Assert.Contains("need 21 positions in the key-value cache, a sequence has 20", exception.Message, StringComparison.Ordinal);
        Assert.Equal(11, (await Read(engine.GenerateAsync(Prompt(10, 1), new() { MaxNewTokens = 11 }))).Count);
    }

    [Fact]
    public async Task Arguments_are_checked_at_once()
    {
        await using GenerationEngine engine = new(Description, new FakeExecutor());
        Assert.Throws<ArgumentException>(() => engine.GenerateAsync([]));
        Assert.Throws<ArgumentException>(() => engine.GenerateAsync([FakeExecutor.Vocabulary]));
        Assert.Throws<ArgumentException>(() => engine.GenerateAsync(new int[65]));
        Assert.Throws<ArgumentOutOfRangeException>(() => engine.GenerateAsync([1], new() { Temperature = float.NaN }));
        Assert.Throws<ArgumentOutOfRangeException>(() => engine.GenerateAsync([1], new() { TopP = 0 }));
        Assert.Empty(await Read(engine.GenerateAsync([1], new() { MaxNewTokens = 0 })));
    }

    private static int[] Prompt(int length, int seed) => [.. Enumerable.Range(0, length).Select(i => ((i * 37) + (seed * 101)) % FakeExecutor.Vocabulary)];

    private static Task<List<int>> Read(IAsyncEnumerable<int> tokens) => Read(tokens.WithCancellation(CancellationToken.None));

    private static async Task<List<int>> Read(System.Runtime.CompilerServices.ConfiguredCancelableAsyncEnumerable<int> tokens)
    {
        List<int> all = [];
        await foreach (int token in tokens)
        {
            all.Add(token);
        }

        return all;
    }
}
