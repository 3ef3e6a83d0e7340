using System.Collections.Concurrent;

namespace KernelGen.Inference.Serving;

/// <summary>
/// Continuous batching: sequences join and leave between two steps. Requests are served in the order of their arrival; one is taken in as soon as
/// there is a slot and there are pages for all the tokens that it may become, so none ever has to be thrown out again. A prompt is run alone, in chunks
/// whose bounds depend on nothing but the prompt; between two chunks all other sequences advance by a token.
/// </summary>
/// <remarks><see cref="Submit"/> may be called by any thread, all else by one.</remarks>
internal sealed class Scheduler
{
    private readonly IStepExecutor _executor;
    private readonly PageAllocator _pages;
    private readonly ConcurrentQueue<Sequence> _arrivals = new();
    private readonly Queue<Sequence> _waiting = new();
    private readonly List<Sequence> _prefilling = [];
    private readonly List<Sequence> _decoding = [];
    private readonly Stack<int> _slots;
    private readonly DecodeRow[] _rows;
    private readonly int[] _next;

    public Scheduler(IStepExecutor executor)
    {
        _executor = executor;
        _pages = new PageAllocator(executor.Pages);
        _slots = new(Enumerable.Range(0, executor.Slots).Reverse());
        _rows = new DecodeRow[executor.Slots];
        _next = new int[executor.Slots];
    }

    /// <summary>Pages that no sequence has.</summary>
    public int FreePages => _pages.Free;

    /// <summary>Slots that no sequence has.</summary>
    public int FreeSlots => _slots.Count;

    /// <summary>The most positions that a sequence can have here: the model's, or those of the whole cache.</summary>
    public int LongestSequence => (int)Math.Min(_executor.ContextLength, (long)_executor.Pages * _executor.PageSize);

    /// <summary>Puts a sequence into the queue.</summary>
    public void Submit(Sequence sequence) => _arrivals.Enqueue(sequence);

    /// <summary>Takes in what fits, runs a chunk of a prompt if there is one, and then one token of every other sequence.</summary>
    /// <returns>Whether anything was done; if not, there is nothing to do until the next <see cref="Submit"/>.</returns>
    /// <remarks>After an exception of the executor, <see cref="Abort"/> ends all sequences.</remarks>
    public bool Step()
    {
        DropCancelled(_prefilling);
        DropCancelled(_decoding);
        Admit();
        if (_prefilling.Count == 0 && _decoding.Count == 0)
        {
            return false;
        }

        // Before the prompt: what it becomes joins the next step.
        if (_decoding.Count > 0)
        {
            Decode();
        }

        if (_prefilling.Count > 0)
        {
            Prefill(_prefilling[0]);
        }

        return true;
    }

    /// <summary>Ends every sequence with an error.</summary>
    public void Abort(Exception error)
    {
        foreach (Sequence sequence in _prefilling.Concat(_decoding).ToArray())
        {
            Leave(sequence, error);
        }

        _prefilling.Clear();
        _decoding.Clear();
        while (NextWaiting() is { } waiting)
        {
            _ = _waiting.Dequeue();
            waiting.LeftQueue?.Invoke();
            waiting.Complete(error);
        }
    }

    private Sequence? NextWaiting()
    {
        while (_arrivals.TryDequeue(out Sequence? arrival))
        {
            _waiting.Enqueue(arrival);
        }

        return _waiting.TryPeek(out Sequence? first) ? first : null;
    }

    private void Admit()
    {
        while (NextWaiting() is { } sequence)
        {
            if (!sequence.Cancellation.IsCancellationRequested)
            {
                int[] pages = new int[(sequence.Positions + _executor.PageSize - 1) / _executor.PageSize];
                if (_slots.Count == 0 || !_pages.TryTake(pages))
                {
                    return;
                }

                sequence.Pages = pages;
                sequence.Slot = _slots.Pop();
                _prefilling.Add(sequence);
                _executor.Place(sequence.Slot, pages);
            }
            else
            {
                sequence.Complete(new OperationCanceledException(sequence.Cancellation));
            }

            _ = _waiting.Dequeue();
            sequence.LeftQueue?.Invoke();
        }
    }

    private void Prefill(Sequence sequence)
    {
        int count = Math.Min(_executor.PrefillChunk, sequence.Prompt.Length - sequence.Length);
        bool isLast = sequence.Length + count == sequence.Prompt.Length;
        int token = _executor.Prefill(sequence.Slot, sequence.Prompt.AsSpan(sequence.Length, count), sequence.Length, isLast, sequence.Options);
        sequence.Length += count;
        if (isLast)
        {
            _prefilling.RemoveAt(0);
            if (!Ends(sequence, token))
            {
                _decoding.Add(sequence);
            }
        }
    }

    private void Decode()
    {
        int count = _decoding.Count;
        for (int i = 0; i < count; i++)
        {
            Sequence sequence = _decoding[i];
            _rows[i] = new DecodeRow(sequence.Slot, sequence.LastToken, sequence.Length, sequence.Options);
        }

        _executor.Decode(_rows.AsSpan(0, count), _next.AsSpan(0, count));
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            Sequence sequence = _decoding[i];
            sequence.Length++;
            if (!Ends(sequence, _next[i]))
            {
                _decoding[kept++] = sequence;
            }
        }

        _decoding.RemoveRange(kept, count - kept);
    }

    /// <summary>Hands a token out; whether it was the sequence's last.</summary>
    private bool Ends(Sequence sequence, int token)
    {
        if (token == IStepExecutor.NoToken)
        {
            Leave(sequence, new InvalidOperationException(
                "The model's logits are not finite: its weights or activations are not, or exceed 16 bits. Use another checkpoint or scheme."));
            return true;
        }

        if (!sequence.Emit(token))
        {
            return false;
        }

        Leave(sequence, null);
        return true;
    }

    private void DropCancelled(List<Sequence> sequences) => _ = sequences.RemoveAll(sequence =>
    {
        if (!sequence.Cancellation.IsCancellationRequested)
        {
            return false;
        }

        Leave(sequence, new OperationCanceledException(sequence.Cancellation));
        return true;
    });

    private void Leave(Sequence sequence, Exception? error)
    {
        _pages.Return(sequence.Pages);
        _slots.Push(sequence.Slot);
        sequence.Pages = [];
        sequence.Slot = -1;
        sequence.Complete(error);
    }
}
