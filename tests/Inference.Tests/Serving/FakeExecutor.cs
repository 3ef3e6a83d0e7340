using KernelGen.Inference.Generation;
using KernelGen.Inference.Serving;

namespace KernelGen.Inference.Tests.Serving;

/// <summary>
/// A model whose next token is a hash of all tokens before it, which it reads from a paged cache as the device would: a page that two sequences share,
/// or a position that is skipped, changes the text.
/// </summary>
internal sealed class FakeExecutor(int slots = 4, int pages = 32, int pageSize = 4, int contextLength = 64, int prefillChunk = 8) : IStepExecutor
{
    public const int Vocabulary = 1000;

    private readonly int[] _cache = new int[pages * pageSize];
    private readonly int[][] _tables = new int[slots][];

    public int Slots => slots;

    public int Pages => pages;

    public int PageSize => pageSize;

    public int ContextLength => contextLength;

    public int PrefillChunk => prefillChunk;

    /// <summary>Rows of every decoding step, for tests that ask how sequences were batched.</summary>
    public List<int> Batches { get; } = [];

    /// <summary>Calls of <see cref="Prefill"/>: slot, tokens, position.</summary>
    public List<(int Slot, int Tokens, int Position)> Chunks { get; } = [];

    /// <summary>Called before every step.</summary>
    public Action? BeforeStep { get; set; }

    /// <summary>The token that stands for logits that are not finite.</summary>
    public int? Broken { get; init; }

    public static int Next(IEnumerable<int> tokens)
    {
        uint hash = 2166136261;
        foreach (int token in tokens)
        {
            hash = (hash ^ (uint)token) * 16777619;
        }

        return (int)(hash % Vocabulary);
    }

    /// <summary>What the model says to a prompt.</summary>
    public static int[] Text(int[] prompt, int count)
    {
        List<int> tokens = [.. prompt];
        for (int i = 0; i < count; i++)
        {
            tokens.Add(Next(tokens));
        }

        return [.. tokens.Skip(prompt.Length)];
    }

    public void Place(int slot, ReadOnlySpan<int> table) => _tables[slot] = table.ToArray();

    public int Prefill(int slot, ReadOnlySpan<int> tokens, int position, bool isLast, GenerationOptions options)
    {
        BeforeStep?.Invoke();
        Chunks.Add((slot, tokens.Length, position));
        for (int i = 0; i < tokens.Length; i++)
        {
            Store(slot, position + i, tokens[i]);
        }

        return isLast ? Read(slot, position + tokens.Length) : 0;
    }

    public void Decode(ReadOnlySpan<DecodeRow> rows, Span<int> next)
    {
        BeforeStep?.Invoke();
        Batches.Add(rows.Length);
        foreach (DecodeRow row in rows)
        {
            Store(row.Slot, row.Position, row.Token);
        }

        for (int i = 0; i < rows.Length; i++)
        {
            next[i] = Read(rows[i].Slot, rows[i].Position + 1);
        }
    }

    private void Store(int slot, int position, int token) => _cache[(_tables[slot][position / pageSize] * pageSize) + (position % pageSize)] = token;

    private int Read(int slot, int length)
    {
        int token = Next(Enumerable.Range(0, length).Select(i => _cache[(_tables[slot][i / pageSize] * pageSize) + (i % pageSize)]));
        return token == Broken ? IStepExecutor.NoToken : token;
    }
}
