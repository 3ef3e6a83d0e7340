namespace KernelGen.Inference.Serving;

/// <summary>
/// The pages of the key-value cache, as numbers: which are free. A page holds the keys and values of a fixed number of neighbouring positions of one
/// sequence, in every layer. Not thread-safe: the scheduler alone uses it.
/// </summary>
internal sealed class PageAllocator
{
    private readonly int[] _free;
    private readonly bool[] _isTaken;

    public PageAllocator(int pages)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(pages, 1);

        // The lowest numbers are given out first.
        _free = [.. Enumerable.Range(0, pages).Reverse()];
        _isTaken = new bool[pages];
        Free = pages;
    }

    /// <summary>Pages that there are.</summary>
    public int Total => _free.Length;

    /// <summary>Pages that nobody has.</summary>
    public int Free { get; private set; }

    /// <summary>Takes as many pages as the span is long, or none where there are fewer.</summary>
    public bool TryTake(Span<int> pages)
    {
        if (pages.Length > Free)
        {
            return false;
        }

        foreach (ref int page in pages)
        {
            page = _free[--Free];
            _isTaken[page] = true;
        }

        return true;
    }

    /// <summary>Gives pages back.</summary>
    /// <exception cref="InvalidOperationException">A page is not taken: two sequences would share it.</exception>
    public void Return(ReadOnlySpan<int> pages)
    {
        foreach (int page in pages)
        {
            if (!_isTaken[page])
            {
                throw new InvalidOperationException($"Page {page} of the key-value cache was given back twice.");
            }

            _isTaken[page] = false;
            _free[Free++] = page;
        }
    }
}
