using KernelGen.Inference.Generation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Inference.Tests;

/// <summary>What models promise to several threads, and that what is long can be cancelled.</summary>
public sealed class ConcurrencyTests
{
    private static readonly string Folder = RepositoryPaths.Model("opt-1.5m");

    private static readonly GenerationOptions Options = new() { MaxNewTokens = 12, StopAtEndOfSequence = false };

    [Theory]
    [InlineData("fp32")]
    [InlineData("llm-int8-elements")]
    public void Texts_that_are_generated_at_once_are_those_generated_alone(string scheme)
    {
        using TransformerModel model = Load(scheme);
        TextGenerator generator = new(model);
        int[] text = TransformerTestModels.TextTokens("opt-1.5m");
        int[][] prompts = [.. Enumerable.Range(0, 6).Select(i => text[(50 * i)..((50 * i) + 5 + i)])];
        int[][] alone = [.. prompts.Select(prompt => generator.Generate(prompt, Options))];
        Assert.NotEqual(alone[0], alone[1]);
        OnThreads(6, thread =>
        {
            for (int i = 0; i < prompts.Length; i++)
            {
                int which = (thread + i) % prompts.Length;
                Assert.Equal(alone[which], generator.Generate(prompts[which], Options));
            }
        });
    }

    [Theory]
    [InlineData("fp32")]
    [InlineData("w8a16")]
    [InlineData("llm-int8")]
    public void A_model_that_is_disposed_while_it_generates_says_so(string scheme)
    {
        int[] prompt = TransformerTestModels.TextTokens("opt-1.5m")[..40];
        for (int round = 0; round < 5; round++)
        {
            TransformerModel model = Load(scheme);
            TextGenerator generator = new(model);
            using Barrier begin = new(4);
            OnThreads(4, thread =>
            {
                begin.SignalAndWait();
                if (thread == 0)
                {
                    Thread.SpinWait(100_000 * (round + 1));
                    model.Dispose();
                    return;
                }

                Action generate = () =>
                {
                    while (true)
                    {
                        generator.Generate(prompt, Options);
                    }
                };
                Assert.Throws<ObjectDisposedException>(generate);
            });
        }
    }

    [Fact]
    public void A_cache_that_another_thread_uses_is_refused()
    {
        using TransformerModel model = Load("fp32");
        KeyValueCache cache = model.CreateCache(8);
        Assert.True(cache.TryEnter());
        Assert.Contains("Another thread", Assert.Throws<InvalidOperationException>(() => model.Forward([1, 2], cache)).Message, StringComparison.Ordinal);
        cache.Exit();
        _ = model.Forward([1, 2], cache);
        Assert.Equal(2, cache.Length);
        Assert.Contains("twice", Assert.Throws<ArgumentException>(() => model.Forward([1, 2], cache, cache)).Message, StringComparison.Ordinal);
        _ = model.Forward([3], cache);
        Assert.Equal(3, cache.Length);
    }

    [Fact]
    public void Loading_is_cancelled_between_two_layers()
    {
        using CancellationTokenSource cancellation = new();
        int layers = 0;
        LinearLayerFactory make = FloatLinear.Factory();
        Assert.ThrowsAny<OperationCanceledException>(() => TransformerModel.Load(
            Folder,
            source =>
            {
                layers++;
                cancellation.Cancel();
                return make(source);
            },
            cancellation: cancellation.Token));
        Assert.Equal(1, layers);
    }

    [Fact]
    public void A_pass_that_is_cancelled_leaves_its_cache_as_it_was()
    {
        using TransformerModel model = Load("fp32");
        KeyValueCache cache = model.CreateCache(8);
        Assert.ThrowsAny<OperationCanceledException>(() => model.Forward([1, 2], [cache], new CancellationToken(canceled: true)));
        Assert.Equal(0, cache.Length);
        Assert.Equal(model.Forward([1, 2], model.CreateCache(8)), model.Forward([1, 2], cache));
    }

    private static TransformerModel Load(string scheme) => TransformerModel.Load(Folder, QuantizationScheme.Parse(scheme).CreateFactory());

    private static void OnThreads(int count, Action<int> body)
    {
        Task[] tasks = [.. Enumerable.Range(0, count).Select(thread => Task.Factory.StartNew(
            () => body(thread), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        Assert.True(Task.WaitAll(tasks, TimeSpan.FromMinutes(5)), "The threads did not end.");
    }
}
