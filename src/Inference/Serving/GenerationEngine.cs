using System.Runtime.CompilerServices;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Observability;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Serving;

/// <summary>
/// Generates texts for many callers at once: a thread of its own runs the model, and a text joins the others, or leaves them, between two of their
/// tokens. All members may be called by any thread at any time.
/// </summary>
public sealed class GenerationEngine : IAsyncDisposable, IDisposable
{
    /// <summary>Requests that wait inside; further callers wait outside, which costs nothing but their own memory.</summary>
    private const int MostWaiting = 1024;

    private readonly DecoderDescription _description;
    private readonly Scheduler _scheduler;
    private readonly SemaphoreSlim _queue = new(MostWaiting);
    private readonly AutoResetEvent _work = new(false);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _submitting = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Action? _release;
    private Exception? _fault;
    private int _disposed;

    /// <param name="description">The model.</param>
    /// <param name="executor">Runs it; used by the engine's thread alone.</param>
    /// <param name="release">Called on that thread when the engine ends.</param>
    internal GenerationEngine(DecoderDescription description, IStepExecutor executor, Action? release = null)
    {
        _description = description;
        _scheduler = new Scheduler(executor);
        _release = release;
        Thread thread = new(Run) { IsBackground = true, Name = "KernelGen generation" };
        thread.Start();
    }

    /// <summary>What the model is made of.</summary>
    public DecoderDescription Description => _description;

    /// <summary>For tests: pages and slots that nobody has.</summary>
    internal (int Pages, int Slots) Free => (_scheduler.FreePages, _scheduler.FreeSlots);

    /// <summary>Continues a text. Arguments are checked at once, work begins with the first token that is asked for.</summary>
    /// <param name="prompt">The text's tokens so far, at least one.</param>
    /// <param name="options">How to choose and when to stop; null for the defaults.</param>
    /// <param name="cancellation">
    /// Ends the text between two steps, as leaving the enumeration does; what it held is free for others then. A token given to
    /// <c>WithCancellation</c> does the same.
    /// </param>
    /// <returns>The new tokens, without the prompt, each as soon as it is there; every enumeration begins anew.</returns>
    /// <exception cref="ArgumentException">
    /// The prompt is empty, longer than the model's context, has a token beyond the vocabulary, or does not fit the engine's key-value cache with the
    /// tokens that were asked for.
    /// </exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="ObjectDisposedException">The engine is disposed, before or while the tokens are read.</exception>
    /// <remarks>
    /// Reading may throw an <see cref="OperationCanceledException"/>, an <see cref="InvalidOperationException"/> where the model's logits are not
    /// finite, or what made the device fail, such as a <see cref="CudaException"/>; after the last, the engine takes no more requests.
    /// </remarks>
    public IAsyncEnumerable<int> GenerateAsync(IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new GenerationOptions();
        GenerationArguments.Check(_description, prompt, options);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);

        // The last token generated is not fed back, so the text may exceed the context by that one.
        int newTokens = Math.Min(options.MaxNewTokens, _description.ContextLength - prompt.Count + 1);
        long positions = (long)prompt.Count + newTokens - 1;
        return positions <= _scheduler.LongestSequence
            ? Stream([.. prompt], newTokens, options, cancellation, default)
            : throw new ArgumentException(
                $"The prompt's {prompt.Count} tokens and {newTokens} new ones need {positions} positions in the key-value cache, a sequence has {_scheduler.LongestSequence}: ask for fewer, or load the model with a longer context.",
                nameof(prompt));
    }

    /// <summary>Ends all texts that are being generated, then the engine's thread.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    /// <inheritdoc cref="Dispose"/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            await _stopping.CancelAsync().ConfigureAwait(false);
            _ = _work.Set();
        }

        await _ended.Task.ConfigureAwait(false);
    }

    private async IAsyncEnumerable<int> Stream(
        int[] prompt, int newTokens, GenerationOptions options, CancellationToken given, [EnumeratorCancellation] CancellationToken cancellation)
    {
        if (newTokens == 0)
        {
            yield break;
        }

        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(given, cancellation);
        Sequence sequence = new(prompt, newTokens, options, options.StopAtEndOfSequence ? _description.EndOfSequenceTokens : [], ending.Token)
        {
            LeftQueue = () => _queue.Release(),
        };
        await _queue.WaitAsync(ending.Token).ConfigureAwait(false);
        Submit(sequence);
        try
        {
            await foreach (int token in sequence.Output.ReadAllAsync(ending.Token).ConfigureAwait(false))
            {
                TokenInstruments.CountGenerated("gpu");
                yield return token;
            }
        }
        finally
        {
            // Whoever stops reading stops the text.
            await ending.CancelAsync().ConfigureAwait(false);
        }
    }

    private void Submit(Sequence sequence)
    {
        lock (_submitting)
        {
            if (_fault is null)
            {
                _scheduler.Submit(sequence);
                _ = _work.Set();
                return;
            }
        }

        sequence.LeftQueue!();
        sequence.Complete(_fault);
    }

    private void Run()
    {
        Exception fault;
        try
        {
            while (!_stopping.IsCancellationRequested)
            {
                if (!_scheduler.Step())
                {
                    _ = _work.WaitOne();
                }
            }

            fault = new ObjectDisposedException(nameof(GenerationEngine));
        }
        catch (Exception exception)
        {
            // Whatever it was, callers must not wait for ever.
            fault = exception;
        }

        lock (_submitting)
        {
            _fault = fault;
        }

        _scheduler.Abort(fault);
        try
        {
            _release?.Invoke();
        }
        finally
        {
            _ = _ended.TrySetResult();
        }
    }
}
