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
    private readonly RotaryTable? _rotary;
    private readonly float[]? _slopes;

    public DecoderPass(DecoderDescription description, KeyValueCache[] caches, int tokens, int maxDegreeOfParallelism)
    {
        _description = description;
        _caches = caches;
        _past = [.. caches.Select(cache => cache.Length)];
        _maxDegreeOfParallelism = maxDegreeOfParallelism;
        TokensPerSequence = tokens;
        Rows = checked(caches.Length * tokens);

        int hidden = description.HiddenSize;
        IReadOnlyList<DecoderLayerDescription> layers = description.Layers;
        Hidden = Allocate(hidden);
        Normed = Allocate(hidden);
        Branch = Allocate(hidden);
        Attended = Allocate(description.Heads * description.HeadSize);
        Projected = [.. layers[0].Attention.Projections.LinearLayers.Select(projection => Allocate(projection.OutputFeatures))];
        Inner = Allocate(layers.Max(layer => layer.Mlp.Up.OutputFeatures));
        Gate = layers.Any(layer => layer.Mlp.Gate is not null) ? Allocate(Inner.Length / Rows) : null;
        _rotary = description.Positions is RotaryPositions rotary ? new RotaryTable(rotary, this) : null;
        _slopes = description.Positions is AlibiPositions alibi ? [.. alibi.Slopes] : null;
    }

    public int Rows { get; }

    public int TokensPerSequence { get; }

    /// <summary>The residual stream.</summary>
    public float[] Hidden { get; }

    /// <summary>The normalized input of a branch.</summary>
    public float[] Normed { get; }

    /// <summary>What a branch adds to the residual stream.</summary>
    public float[] Branch { get; }

    /// <summary>The outputs of the projections to queries, keys and values: three, or one where they are fused.</summary>
    public float[][] Projected { get; }

    /// <summary>The heads' results.</summary>
    public float[] Attended { get; }

    /// <summary>Between the MLP's layers; as wide as the widest layer's.</summary>
    public float[] Inner { get; }

    /// <summary>The MLP's gate, as wide as <see cref="Inner"/>; null where no layer has one.</summary>
    public float[]? Gate { get; }

    /// <summary>A buffer of all rows.</summary>
    public float[] Allocate(int width) => GC.AllocateUninitializedArray<float>(checked(Rows * width));

    /// <summary>Position of a row's token in its sequence.</summary>
    public int Position(int row) => _past[row / TokensPerSequence] + (row % TokensPerSequence);

    public void Apply(LinearLayer layer, float[] input, float[] output) =>
        layer.Forward(input.AsSpan(0, Rows * layer.InputFeatures), Rows, output.AsSpan(0, Rows * layer.OutputFeatures));

    /// <summary>Returns the destination, for the reader's convenience.</summary>
    public float[] Normalize(Norm norm, float[] source, float[] destination)
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
    public void AddToHidden(float[] addend, Norm? norm)
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

    /// <summary>Applies an activation to rows [<see cref="Rows"/>, width], in place.</summary>
    public void Activate(ActivationFunction activation, float[] values, int width) =>
        ForRows(width, (first, count) => ActivationFunctions.Apply(activation, values.AsSpan(first * width, count * width)));

    /// <summary><c>values *= activation(gate)</c>, rows [<see cref="Rows"/>, width]; the gate is overwritten.</summary>
    public void ActivateGate(ActivationFunction activation, float[] gate, float[] values, int width) => ForRows(width, (first, count) =>
    {
        Span<float> rows = values.AsSpan(first * width, count * width);
        Span<float> gates = gate.AsSpan(first * width, count * width);
        ActivationFunctions.Apply(activation, gates);
        TensorPrimitives.Multiply(rows, gates, rows);
    });

    /// <summary>Attention of <see cref="Projected"/>, with the layer's cache, to <see cref="Attended"/>.</summary>
    public void Attend(int layer, AttentionDescription attention)
    {
        (int heads, int keyValueHeads, int headSize) = (_description.Heads, _description.KeyValueHeads, _description.HeadSize);
        (HeadView query, HeadView key, HeadView value) = Heads(attention.Projections);
        if (_rotary is not null)
        {
            ForRows((heads + keyValueHeads) * headSize, (first, count) =>
            {
                for (int row = first; row < first + count; row++)
                {
                    _rotary.Turn(query, row, heads);
                    _rotary.Turn(key, row, keyValueHeads);
                }
            });
        }

        CausalAttention.Forward(
            new AttentionShape(heads, keyValueHeads, headSize, attention.Scale, attention.Window, _slopes),
            query,
            key,
            value,
            HeadView.Contiguous(Attended, heads, headSize),
            [.. _caches.Select(cache => cache.Store(layer))],
            _past,
            TokensPerSequence,
            _maxDegreeOfParallelism);
    }

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

    private (HeadView Query, HeadView Key, HeadView Value) Heads(QueryKeyValueDescription projections)
    {
        (int heads, int keyValueHeads, int size) = (_description.Heads, _description.KeyValueHeads, _description.HeadSize);
        int all = heads * size;
        return projections switch
        {
            FusedProjection { Order: FusedOrder.PerHead } => (Fused(0, 3 * size), Fused(size, 3 * size), Fused(2 * size, 3 * size)),
            FusedProjection => (Fused(0, size), Fused(all, size), Fused(2 * all, size)),
            _ => (
                HeadView.Contiguous(Projected[0], heads, size),
                HeadView.Contiguous(Projected[1], keyValueHeads, size),
                HeadView.Contiguous(Projected[2], keyValueHeads, size)),
        };

        HeadView Fused(int offset, int headStride) => new(Projected[0], offset, 3 * all, headStride);
    }
}
