using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>
/// Layers that the processor computes beside a GPU that has the others: weights, keys and values stay in host memory, and of a pass the residual stream
/// alone comes and goes. Used by one thread.
/// </summary>
internal sealed class HostLayers : IDisposable
{
    private readonly DecoderDescription _part;
    private readonly Checkpoint _checkpoint;
    private readonly List<DecoderLayer> _layers = [];
    private readonly KeyValueCache?[] _caches;
    private readonly int _capacity;
    private readonly int _threads;

    /// <param name="path">The checkpoint's folder.</param>
    /// <param name="description">The whole model.</param>
    /// <param name="range">The layers.</param>
    /// <param name="linear">Makes their linear layers.</param>
    /// <param name="memory">Texts at once, and their longest context.</param>
    /// <param name="threads">Most threads; -1 for one per processor.</param>
    /// <param name="progress">Counts matrices.</param>
    /// <param name="cancellation">Ends it between two layers.</param>
    public HostLayers(
        string path,
        DecoderDescription description,
        LayerRange range,
        LinearLayerFactory linear,
        DeviceMemoryPlan memory,
        int threads,
        LoadingProgress progress,
        CancellationToken cancellation)
    {
        _part = description with { Layers = [.. description.Layers.Skip(range.First).Take(range.Count)] };
        _threads = threads;
        _capacity = memory.Context;
        _caches = new KeyValueCache?[memory.Batch];
        _checkpoint = Checkpoint.Open(path);
        try
        {
            CheckpointTensors tensors = new(_checkpoint, description);
            foreach (DecoderLayerDescription layer in _part.Layers)
            {
                cancellation.ThrowIfCancellationRequested();
                _layers.Add(new DecoderLayer(layer, tensors, linear));
                for (int matrix = 0; matrix < LayerPlan.MatricesPerLayer; matrix++)
                {
                    progress.Advance();
                }
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Bytes of the layers' parameters.</summary>
    public long Bytes => _layers.Sum(static layer => layer.Bytes);

    /// <summary>Bytes of the linear layers alone.</summary>
    public long LinearBytes => _layers.Sum(static layer => layer.LinearBytes);

    /// <summary>Runs rows through the layers, in place.</summary>
    /// <param name="hidden">The residual stream [rows, hidden].</param>
    /// <param name="positions">Every row's position; those without a token are left as they are, and come last.</param>
    /// <param name="slots">Every row's slot; rows of a slot are neighbours, at neighbouring positions.</param>
    public void Run(Span<float> hidden, ReadOnlySpan<uint> positions, ReadOnlySpan<uint> slots)
    {
        int width = _part.HiddenSize, inactive = positions.IndexOf(DecoderRow.Inactive), rows = inactive < 0 ? positions.Length : inactive;
        List<(int First, int Rows)> texts = [];
        for (int row = 0; row < rows; row++)
        {
            if (row > 0 && slots[row] == slots[row - 1])
            {
                texts[^1] = (texts[^1].First, texts[^1].Rows + 1);
            }
            else
            {
                texts.Add((row, 1));
            }
        }

        // Texts of the same length go through as one matrix, as they do on a GPU.
        for (int first = 0; first < texts.Count;)
        {
            int end = first;
            while (end < texts.Count && texts[end].Rows == texts[first].Rows)
            {
                end++;
            }

            KeyValueCache[] caches = new KeyValueCache[end - first];
            for (int i = first; i < end; i++)
            {
                caches[i - first] = CacheOf((int)slots[texts[i].First], (int)positions[texts[i].First]);
            }

            Span<float> part = hidden.Slice(texts[first].First * width, (end - first) * texts[first].Rows * width);
            Run(part, caches, texts[first].Rows);
            first = end;
        }
    }

    public void Dispose()
    {
        foreach (DecoderLayer layer in _layers)
        {
            layer.Dispose();
        }

        _checkpoint.Dispose();
    }

    private void Run(Span<float> hidden, KeyValueCache[] caches, int tokens)
    {
        DecoderPass pass = new(_part, caches, tokens, _threads);
        hidden.CopyTo(pass.Hidden);
        for (int i = 0; i < _layers.Count; i++)
        {
            _layers[i].Forward(pass, i);
        }

        foreach (KeyValueCache cache in caches)
        {
            cache.Advance(tokens);
        }

        pass.Hidden.CopyTo(hidden);
    }

    /// <summary>The slot's cache with the positions before the given one: a new text begins at 0.</summary>
    private KeyValueCache CacheOf(int slot, int position)
    {
        KeyValueCache cache = _caches[slot] ??= new KeyValueCache(this, _part, _capacity, keepsLayers: true);
        cache.Rewind(position);
        return cache;
    }
}
