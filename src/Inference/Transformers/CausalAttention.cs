using KernelGen.Memory;
using System.Numerics;
using System.Numerics.Tensors;
using KernelGen.Backends.Cpu;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// Causal multi-head attention in float32: <c>softmax(Q K^T * scale) V</c>, each query attending to the positions up to its own, or to the
/// last of them. Scores exist for <see cref="QueriesPerBlock"/> queries of one head at a time. A query's result has the same bits whether it is computed in a
/// prefill, in a batch or alone: every sum runs over the positions in ascending order, in blocks whose bounds do not move, and what
/// lies beyond the query's own position contributes exact zeros.
/// </summary>
internal static unsafe class CausalAttention
{
    /// <summary>Eight register tiles of rows: enough to use a block of keys often, with scores that stay in the L2 cache.</summary>
    private const int QueriesPerBlock = 8 * FloatMicrokernel.Rows;

    /// <summary>Below this many multiply-adds waking another thread costs more than it saves.</summary>
    private const long SmallestParallelWork = 1 << 16;

    [ThreadStatic]
    private static AlignedBuffer<float>? t_scratch;

    /// <summary>Appends keys and values to every sequence's store, then attends. The sequences may be at different positions.</summary>
    /// <param name="shape">Heads, scale and mask.</param>
    /// <param name="query">[sequences * tokens] rows of <see cref="AttentionShape.Heads"/>.</param>
    /// <param name="key">As many rows of <see cref="AttentionShape.KeyValueHeads"/>.</param>
    /// <param name="value">The same.</param>
    /// <param name="output">Receives as many rows as there are of queries.</param>
    /// <param name="stores">One per sequence.</param>
    /// <param name="past">Tokens that each store holds already.</param>
    /// <param name="tokens">New tokens per sequence.</param>
    /// <param name="maxDegreeOfParallelism">Most threads to use; -1 for one per processor.</param>
    public static void Forward(
        AttentionShape shape,
        HeadView query,
        HeadView key,
        HeadView value,
        HeadView output,
        KeyValueStore[] stores,
        int[] past,
        int tokens,
        int maxDegreeOfParallelism)
    {
        (int heads, int keyValueHeads) = (shape.Heads, shape.KeyValueHeads);
        int queriesPerKey = heads / keyValueHeads;
        int blocks = (tokens + QueriesPerBlock - 1) / QueriesPerBlock;
        long work = (long)stores.Length * tokens * (past.Max() + tokens) * heads * shape.HeadSize;
        int threads = work < SmallestParallelWork ? 1 : maxDegreeOfParallelism;
        fixed (float* fixedQuery = query.Values, fixedKey = key.Values, fixedValue = value.Values, fixedOutput = output.Values)
        {
            float* q = fixedQuery;
            float* k = fixedKey;
            float* v = fixedValue;
            float* o = fixedOutput;
            CpuParallel.ForEach(stores.Length * keyValueHeads, threads, item =>
            {
                int sequence = item / keyValueHeads;
                int head = item % keyValueHeads;
                for (int token = 0; token < tokens; token++)
                {
                    long row = ((long)sequence * tokens) + token;
                    stores[sequence].Write(head, past[sequence] + token, k + key.At(row, head), v + value.At(row, head));
                }
            });

            CpuParallel.ForEach(stores.Length * heads * blocks, threads, item =>
            {
                int sequence = item / (heads * blocks);
                int head = item / blocks % heads;

                // The last block has the most positions to attend to: first, so that no thread starts it when the others are done.
                int first = (blocks - 1 - (item % blocks)) * QueriesPerBlock;
                long row = ((long)sequence * tokens) + first;
                AttendBlock(
                    shape,
                    shape.Slopes is null ? 0 : shape.Slopes[head],
                    q + query.At(row, head),
                    query.RowStride,
                    o + output.At(row, head),
                    output.RowStride,
                    Math.Min(QueriesPerBlock, tokens - first),
                    stores[sequence],
                    head / queriesPerKey,
                    past[sequence] + first);
            });
        }

        GC.KeepAlive(stores);
    }

    /// <summary>Attention of one head's queries at consecutive positions.</summary>
    private static void AttendBlock(
        AttentionShape shape,
        float slope,
        float* query,
        int queryStride,
        float* output,
        int outputStride,
        int queries,
        KeyValueStore store,
        int head,
        int firstPosition)
    {
        int panelWidth = KeyValueStore.PanelWidth;
        int headSize = store.HeadSize;
        int positions = firstPosition + queries;
        int columns = KeyValueStore.RoundUp(positions);
        AlignedBuffer<float> scratch = Scratch((long)QueriesPerBlock * (columns + store.ValueWidth));
        float* scores = scratch.Pointer;
        float* results = scores + ((long)QueriesPerBlock * columns);

        float* keys = store.Keys(head);
        if (queries == 1)
        {
            // Its sums may reach into the rows behind its own, which nobody has.
            FloatMicrokernel.MultiplyRow(query, keys, (nint)panelWidth * headSize, panelWidth, columns / panelWidth, headSize, scores);
        }
        else
        {
            for (int column = 0; column < columns; column += panelWidth)
            {
                FloatMicrokernel.MultiplyPanel(
                    query, queryStride, queries, keys + ((long)column * headSize), panelWidth, headSize, scores + column, columns);
            }
        }

        float* sums = stackalloc float[QueriesPerBlock];
        for (int i = 0; i < queries; i++)
        {
            sums[i] = Exponentiate(new Span<float>(scores + ((long)i * columns), columns), firstPosition + i + 1, shape, slope);
        }

        float* values = store.Values(head);
        if (queries == 1)
        {
            FloatMicrokernel.MultiplyRow(scores, values, panelWidth, store.ValueWidth, store.ValueWidth / panelWidth, positions, results);
        }
        else
        {
            for (int column = 0; column < store.ValueWidth; column += panelWidth)
            {
                FloatMicrokernel.MultiplyPanel(
                    scores, columns, queries, values + column, store.ValueWidth, positions, results + column, store.ValueWidth);
            }
        }

        for (int i = 0; i < queries; i++)
        {
            TensorPrimitives.Multiply(
                new ReadOnlySpan<float>(results + ((long)i * store.ValueWidth), headSize),
                1f / sums[i],
                new Span<float>(output + ((long)i * outputStride), headSize));
        }

        GC.KeepAlive(scratch);
    }

    /// <summary>
    /// Turns one query's scores into <c>exp(score * scale - slope * distance - max)</c>, zero from <paramref name="length"/> on and
    /// before the window, and returns their sum: a softmax but for the division, which is done on the result.
    /// </summary>
    private static float Exponentiate(Span<float> scores, int length, AttentionShape shape, float slope)
    {
        // Whole panels are processed, so that every element goes through the same vector code wherever it stands.
        Span<float> row = scores[..KeyValueStore.RoundUp(length)];
        TensorPrimitives.Multiply(row, shape.Scale, row);
        if (slope != 0)
        {
            SubtractDistances(row, length - 1, slope);
        }

        row[length..].Fill(float.NegativeInfinity);
        row[..Math.Max(0, length - (shape.Window ?? length))].Fill(float.NegativeInfinity);
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

    /// <summary>Subtracts the slope for every position from a key to the query: exact distances, however long the text.</summary>
    private static void SubtractDistances(Span<float> row, int queryPosition, float slope)
    {
        Vector<float> ramp = Vector.CreateSequence(0f, 1f);
        Vector<float> slopes = new(slope);
        for (int i = 0; i < row.Length; i += Vector<float>.Count)
        {
            Vector<float> distances = new Vector<float>(queryPosition - i) - ramp;
            (new Vector<float>(row[i..]) - (distances * slopes)).CopyTo(row[i..]);
        }
    }

    private static AlignedBuffer<float> Scratch(long length) =>
        t_scratch is { } scratch && scratch.Length >= length ? scratch : t_scratch = new AlignedBuffer<float>(length);
}
