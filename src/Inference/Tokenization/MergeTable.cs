namespace KernelGen.Inference.Tokenization;

/// <summary>The merges of a BPE model, and their application: again and again the pair of lowest rank, of equal ones the leftmost.</summary>
internal sealed class MergeTable
{
    private readonly Dictionary<long, (int Rank, int Merged)> _merges;

    /// <summary>Takes room for a number of merges.</summary>
    public MergeTable(int capacity) => _merges = new Dictionary<long, (int Rank, int Merged)>(capacity);

    /// <summary>Adds the next merge, in order of rank. A pair that is listed again takes the later rank, as in the reference implementation.</summary>
    public void Add(int rank, int left, int right, int merged) => _merges[Pair(left, right)] = (rank, merged);

    /// <summary>Merges a word's symbols.</summary>
    /// <param name="symbols">The ids of the word's initial symbols; replaced by the result, at the front.</param>
    /// <param name="scratch">Working memory, of the calling thread.</param>
    /// <returns>The number of ids that are left.</returns>
    public int Apply(Span<int> symbols, MergeScratch scratch)
    {
        int count = symbols.Length;
        if (count < 2)
        {
            return count;
        }

        // The symbols are a doubly linked list in place; a merge keeps the left place and takes the right one out.
        Span<int> previous = scratch.Previous(count);
        Span<int> next = scratch.Next(count);
        PriorityQueue<MergeCandidate, long> queue = scratch.Queue;
        queue.Clear();
        for (int i = 0; i < count; i++)
        {
            previous[i] = i - 1;
            next[i] = i + 1 < count ? i + 1 : -1;
        }

        for (int i = 0; i + 1 < count; i++)
        {
            Offer(queue, symbols, i, i + 1);
        }

        while (queue.TryDequeue(out MergeCandidate candidate, out _))
        {
            (int position, int left, int right, int merged) = candidate;
            int follower = next[position];
            // The pair may be gone since it was offered. A place taken out holds no valid id.
            if (symbols[position] != left || follower < 0 || symbols[follower] != right)
            {
                continue;
            }

            symbols[position] = merged;
            symbols[follower] = int.MinValue;
            int after = next[follower];
            next[position] = after;
            if (after >= 0)
            {
                previous[after] = position;
                Offer(queue, symbols, position, after);
            }

            if (previous[position] >= 0)
            {
                Offer(queue, symbols, previous[position], position);
            }
        }

        int remaining = 0;
        for (int i = 0; i >= 0; i = next[i])
        {
            symbols[remaining++] = symbols[i];
        }

        return remaining;
    }

    private void Offer(PriorityQueue<MergeCandidate, long> queue, ReadOnlySpan<int> symbols, int position, int follower)
    {
        (int left, int right) = (symbols[position], symbols[follower]);
        if (_merges.TryGetValue(Pair(left, right), out (int Rank, int Merged) merge))
        {
            queue.Enqueue(new MergeCandidate(position, left, right, merge.Merged), Pair(merge.Rank, position));
        }
    }

    private static long Pair(int high, int low) => ((long)high << 32) | (uint)low;
}
