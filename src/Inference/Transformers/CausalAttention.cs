using KernelGen.Memory;
using System.Numerics;
using System.Numerics.Tensors;
using KernelGen.Backends.Cpu;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// Causal multi-head attention in float32: <c>softmax(Q K^T * scale) V</c>, each query attending to the positions up to its own. Scores
/// exist for <see cref="QueriesPerBlock"/> queries of one head at a time. A query's result has the same bits whether it is computed in a
/// prefill, in a batch or alone: every sum runs over the positions in ascending order, in blocks whose bounds do not move, and what
/// lies beyond the query's own position contributes exact zeros.
/// </summary>
internal static unsafe class CausalAttention
{
    /// <summary>Eight register tiles of rows: enough to use a block of keys often, with scores that stay in the L2 cache.</summary>
    private const int QueriesPerBlock = 8 * FloatMicrokernel.Rows;

    /// <summary>Below this many multiply-adds waking another thread costs more than it saves.</summary>
    private const long SmallestParallelWork = 1 << 18;

    [ThreadStatic]
    private static AlignedBuffer<float>? t_scratch;

    /// <summary>Appends keys and values to every sequence's store, then attends. The sequences may be at different positions.</summary>
    /// <param name="query">[sequences * tokens, heads * head size].</param>
    /// <param name="key">The same shape.</param>
    /// <param name="value">The same shape.</param>
    /// <param name="output">The same shape.</param>
    /// <param name="stores">One per sequence.</param>
    /// <param name="past">Tokens that each store holds already.</param>
    /// <param name="tokens">New tokens per sequence.</param>
    /// <param name="heads">Number of heads.</param>
    /// <param name="headSize">Width of a head.</param>
    /// <param name="maxDegreeOfParallelism">Most threads to use; -1 for one per processor.</param>
    public static void Forward(
        ReadOnlySpan<float> query,
        ReadOnlySpan<float> key,
        ReadOnlySpan<float> value,
        Span<float> output,
        KeyValueStore[] stores,
        int[] past,
        int tokens,
        int heads,
        int headSize,
        int maxDegreeOfParallelism)
    {
        int width = heads * headSize;
        float scale = 1f / MathF.Sqrt(headSize);
        int blocks = (tokens + QueriesPerBlock - 1) / QueriesPerBlock;
        long work = (long)stores.Length * tokens * (past.Max() + tokens) * width;
        int threads = work < SmallestParallelWork ? 1 : maxDegreeOfParallelism;
        fixed (float* fixedQuery = query, fixedKey = key, fixedValue = value, fixedOutput = output)
        {
            float* q = fixedQuery;
            float* k = fixedKey;
            float* v = fixedValue;
            float* o = fixedOutput;
            CpuParallel.ForEach(stores.Length * heads, threads, item =>
            {
                int sequence = item / heads;
                int head = item % heads;
                for (int token = 0; token < tokens; token++)
                {
                    long at = ((((long)sequence * tokens) + token) * width) + (head * headSize);
                    stores[sequence].Write(head, past[sequence] + token, k + at, v + at);
                }
            });

            CpuParallel.ForEach(stores.Length * heads * blocks, threads, item =>
            {
                int sequence = item / (heads * blocks);
                int head = item / blocks % heads;

                // The last block has the most positions to attend to: first, so that no thread starts it when the others are done.
                int first = (blocks - 1 - (item % blocks)) * QueriesPerBlock;
                long at = ((((long)sequence * tokens) + first) * width) + (head * headSize);
                AttendBlock(
                    q + at, o + at, width, Math.Min(QueriesPerBlock, tokens - first), stores[sequence], head, past[sequence] + first, scale);
            });
        }

        GC.KeepAlive(stores);
    }

    /// <summary>Attention of one head's queries at consecutive positions.</summary>
    private static void AttendBlock(
        float* query, float* output, int stride, int queries, KeyValueStore store, int head, int firstPosition, float scale)
    {
        int panelWidth = KeyValueStore.PanelWidth;
        int headSize = store.HeadSize;
        int positions = firstPosition + queries;
        int columns = KeyValueStore.RoundUp(positions);
        AlignedBuffer<float> scratch = Scratch((long)QueriesPerBlock * (columns + store.ValueWidth));
        float* scores = scratch.Pointer;
        float* results = scores + ((long)QueriesPerBlock * columns);

        float* keys = store.Keys(head);
        for (int column = 0; column < columns; column += panelWidth)
        {
            FloatMicrokernel.MultiplyPanel(
                query, stride, queries, keys + ((long)column * headSize), panelWidth, headSize, scores + column, columns);
        }

        float* sums = stackalloc float[QueriesPerBlock];
        for (int i = 0; i < queries; i++)
        {
            sums[i] = Exponentiate(new Span<float>(scores + ((long)i * columns), columns), firstPosition + i + 1, scale);
        }

        float* values = store.Values(head);
        for (int column = 0; column < store.ValueWidth; column += panelWidth)
        {
            FloatMicrokernel.MultiplyPanel(
                scores, columns, queries, values + column, store.ValueWidth, positions, results + column, store.ValueWidth);
        }

        for (int i = 0; i < queries; i++)
        {
            TensorPrimitives.Multiply(
                new ReadOnlySpan<float>(results + ((long)i * store.ValueWidth), headSize),
                1f / sums[i],
                new Span<float>(output + ((long)i * stride), headSize));
        }

        GC.KeepAlive(scratch);
    }

    /// <summary>
    /// Turns one query's scores into <c>exp(score * scale - max)</c>, zero from <paramref name="length"/> on, and returns their sum: a
    /// softmax but for the division, which is done on the result.
    /// </summary>
    private static float Exponentiate(Span<float> scores, int length, float scale)
    {
        // Whole panels are processed, so that every element goes through the same vector code wherever it stands.
        Span<float> row = scores[..KeyValueStore.RoundUp(length)];
        row[length..].Fill(float.NegativeInfinity);
        TensorPrimitives.Multiply(row, scale, row);
        TensorPrimitives.Subtract(row, TensorPrimitives.Max(row), row);
        TensorPrimitives.Exp(row, row);
        scores[row.Length..].Clear();

        Vector<float> sum = Vector<float>.Zero;
        for (int i = 0; i < row.Length; i += Vector<float>.Count)
        {
            sum += new Vector<float>(row[i..]);
        }

        return Vector.Sum(sum);
    }

    private static AlignedBuffer<float> Scratch(long length) =>
        t_scratch is { } scratch && scratch.Length >= length ? scratch : t_scratch = new AlignedBuffer<float>(length);
}
