using System.Numerics.Tensors;
using KernelGen.Backends.Cpu;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// One pass of a batch through the decoder: the buffers, and the operations on them that run on all cores. All tokens of all sequences
/// are the rows of one matrix [sequences * tokens, width].
/// </summary>
internal sealed class DecoderPass
{
    /// <summary>About this many values make a work item of an operation that goes through memory once.</summary>
    private const int ValuesPerItem = 1 << 16;

    private readonly DecoderDescription _description;
    private readonly KeyValueCache[] _caches;
    private readonly int[] _past;
    private readonly int _maxDegreeOfParallelism;

    public DecoderPass(DecoderDescription description, KeyValueCache[] caches, int tokens, int maxDegreeOfParallelism)
    {
        _description = description;
        _caches = caches;
        _past = [.. caches.Select(cache => cache.Length)];
        _maxDegreeOfParallelism = maxDegreeOfParallelism;
        TokensPerSequence = tokens;
        Rows = checked(caches.Length * tokens);

        int hidden = description.HiddenSize;
        Hidden = Allocate(hidden);
        Normed = Allocate(hidden);
        Query = Allocate(hidden);
        Key = Allocate(hidden);
        Value = Allocate(hidden);
        Inner = Allocate(description.Layers.Max(layer => layer.Up.OutputFeatures));
    }

    public int Rows { get; }

    public int TokensPerSequence { get; }

    /// <summary>The residual stream.</summary>
    public float[] Hidden { get; }

    /// <summary>The normalized input of a branch; then the result of attention.</summary>
    public float[] Normed { get; }

    /// <summary>The queries; then what a branch adds to the residual stream.</summary>
    public float[] Query { get; }

    public float[] Key { get; }

    public float[] Value { get; }

    /// <summary>Between the MLP's layers; as wide as the widest layer's.</summary>
    public float[] Inner { get; }

    /// <summary>A buffer of all rows.</summary>
    public float[] Allocate(int width) => GC.AllocateUninitializedArray<float>(checked(Rows * width));

    /// <summary>Position of a row's token in its sequence.</summary>
    public int Position(int row) => _past[row / TokensPerSequence] + (row % TokensPerSequence);

    public void Apply(LinearLayer layer, float[] input, float[] output) =>
        layer.Forward(input.AsSpan(0, Rows * layer.InputFeatures), Rows, output.AsSpan(0, Rows * layer.OutputFeatures));

    /// <summary>Returns the destination, for the reader's convenience.</summary>
    public float[] Normalize(LayerNorm norm, float[] source, float[] destination)
    {
        ForRows(norm.Size, (first, count) =>
        {
            for (int row = first; row < first + count; row++)
            {
                norm.Apply(source.AsSpan(row * norm.Size, norm.Size), destination.AsSpan(row * norm.Size, norm.Size));
            }
        });
        return destination;
    }

    /// <summary>Adds a branch's result to the residual stream and normalizes the sum if a norm is given.</summary>
    public void AddToHidden(float[] addend, LayerNorm? norm)
    {
        int size = _description.HiddenSize;
        ForRows(size, (first, count) =>
        {
            Span<float> rows = Hidden.AsSpan(first * size, count * size);
            TensorPrimitives.Add(rows, addend.AsSpan(first * size, count * size), rows);
            for (int row = 0; norm is not null && row < count; row++)
            {
                norm.Apply(rows.Slice(row * size, size), rows.Slice(row * size, size));
            }
        });
    }

    public void Activate(ActivationFunction activation, float[] values)
    {
        int width = values.Length / Rows;
        ForRows(width, (first, count) => ActivationFunctions.Apply(activation, values.AsSpan(first * width, count * width)));
    }

    public void Attend(int layer, float[] query, float[] key, float[] value, float[] output) => CausalAttention.Forward(
        query,
        key,
        value,
        output,
        [.. _caches.Select(cache => cache.Store(layer))],
        _past,
        TokensPerSequence,
        _description.Heads,
        _description.HeadSize,
        _maxDegreeOfParallelism);

    /// <summary>Calls the body for blocks of rows, on all cores where there is enough to do: (first row, number of rows).</summary>
    public void ForRows(int width, Action<int, int> body)
    {
        int rowsPerItem = Math.Max(1, ValuesPerItem / width);
        int items = (Rows + rowsPerItem - 1) / rowsPerItem;
        CpuParallel.ForEach(items, _maxDegreeOfParallelism, item =>
        {
            int first = item * rowsPerItem;
            body(first, Math.Min(rowsPerItem, Rows - first));
        });
    }
}
