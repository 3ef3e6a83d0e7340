using System.Numerics.Tensors;
using KernelGen.Backends.Cpu;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Observability;
using KernelGen.Observability;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// A decoder-only transformer on the CPU. Its linear layers are what the <see cref="LinearLayerFactory"/> makes of the checkpoint's;
/// embeddings and the output embedding stay in the checkpoint's type, as transformers leaves them, and all other arithmetic is float32.
/// </summary>
/// <remarks>
/// Thread-safe: a model never changes, and several threads may use it at once, each with caches of its own. Any thread may dispose it: what is running
/// then ends, or throws an <see cref="ObjectDisposedException"/> at its next layer.
/// </remarks>
public sealed class TransformerModel : IDisposable
{
    private readonly Checkpoint _checkpoint;
    private readonly EmbeddingTable _tokens;
    private readonly EmbeddingTable? _positions;
    private readonly Norm? _embeddingNorm;
    private readonly LinearLayer? _projectIn;
    private readonly DecoderLayer[] _layers;
    private readonly Norm? _finalNorm;
    private readonly LinearLayer? _projectOut;
    private readonly EmbeddingTable _output;
    private readonly FloatLinear _outputEmbedding;
    private readonly int _maxDegreeOfParallelism;

    private TransformerModel(
        DecoderDescription description, Checkpoint checkpoint, LinearLayerFactory linear, int maxDegreeOfParallelism, IProgress<double>? progress)
    {
        CheckpointTensors tensors = new(checkpoint, description);
        Description = description;
        _checkpoint = checkpoint;
        _maxDegreeOfParallelism = maxDegreeOfParallelism;
        _tokens = tensors.Embedding(description.TokenEmbedding);
        _positions = description.Positions is LearnedPositions positions ? tensors.Embedding(positions.Table) : null;
        _embeddingNorm = description.EmbeddingNorm is null ? null : tensors.Norm(description.EmbeddingNorm);
        _projectIn = Projection(description.ProjectIn);
        _layers = new DecoderLayer[description.Layers.Count];
        for (int i = 0; i < _layers.Length; i++)
        {
            _layers[i] = new DecoderLayer(description.Layers[i], tensors, linear);
            progress?.Report((i + 1.0) / _layers.Length);
        }

        _finalNorm = description.FinalNorm is null ? null : tensors.Norm(description.FinalNorm);
        _projectOut = Projection(description.ProjectOut);
        _output = description.OutputEmbedding is null
            ? _tokens
            : tensors.OutputEmbedding(description.OutputEmbedding, description.VocabularySize, description.TokenEmbedding.Size);
        _outputEmbedding = _output.AsLinear(maxDegreeOfParallelism);

        LinearLayer? Projection(LinearDescription? projection) => projection is null ? null : tensors.Linear(projection, linear);
    }

    /// <summary>What the model is made of.</summary>
    public DecoderDescription Description { get; }

    /// <summary>Bytes that all parameters take in memory; weights that are used twice count once.</summary>
    /// <remarks>It can grow while the model runs: layers may keep the weights of columns that turned out to be outliers.</remarks>
    public long Bytes => _tokens.Bytes
        + (_output == _tokens ? 0 : _output.Bytes)
        + (_positions?.Bytes ?? 0)
        + (_embeddingNorm?.Bytes ?? 0)
        + (_projectIn?.Bytes ?? 0)
        + _layers.Sum(layer => layer.Bytes)
        + (_finalNorm?.Bytes ?? 0)
        + (_projectOut?.Bytes ?? 0);

    /// <summary>Loads a model.</summary>
    /// <param name="path">
    /// A folder in Hugging Face layout: <c>config.json</c> and safetensors files, in floating point or in int8 as bitsandbytes stores it.
    /// Int8 weights are taken as they are; <see cref="FloatLinear"/> multiplies with their dequantized values.
    /// </param>
    /// <param name="linear">Makes the decoder's linear layers; null for <see cref="FloatLinear"/>.</param>
    /// <param name="maxDegreeOfParallelism">Most threads for all that is not a factory's layer; -1 for one per processor.</param>
    /// <param name="progress">Receives the share of the layers that are loaded, up to 1.</param>
    /// <param name="cancellation">Ends the loading between two linear layers.</param>
    /// <exception cref="CheckpointException">
    /// The folder, config or a tensor is missing, damaged or of a kind that is not supported; the message says which and what to do.
    /// </exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static TransformerModel Load(
        string path,
        LinearLayerFactory? linear = null,
        int maxDegreeOfParallelism = -1,
        IProgress<double>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        _ = CpuParallel.Degree(maxDegreeOfParallelism);
        LinearLayerFactory make = linear ?? FloatLinear.Factory(maxDegreeOfParallelism);
        LinearLayerFactory cancellable = source =>
        {
            cancellation.ThrowIfCancellationRequested();
            return make(source);
        };
        return LoadInstruments.Measure(
            path, Telemetry.Cpu, () => Load(path, cancellable, maxDegreeOfParallelism, progress), static model => (model.Description, model.Bytes));
    }

    private static TransformerModel Load(string path, LinearLayerFactory linear, int maxDegreeOfParallelism, IProgress<double>? progress)
    {
        ConfigReader config = ConfigReader.Open(path);

        // Refuses what is quantized in another way; whether a layer is int8, its tensors tell.
        _ = StoredQuantization.IsInt8(config);
        DecoderDescription description = ModelFamilies.Describe(config);
        Checkpoint checkpoint = Checkpoint.Open(path);
        try
        {
            return new TransformerModel(description, checkpoint, linear, maxDegreeOfParallelism, progress);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>Makes an empty cache for one sequence.</summary>
    /// <param name="capacity">Most tokens of the sequence, from 1 to the model's context length.</param>
    /// <exception cref="ArgumentOutOfRangeException">The capacity is out of range.</exception>
    public KeyValueCache CreateCache(int capacity) => CreateCache(capacity, keepsLayers: true);

    /// <summary>Makes a cache for one pass over a whole sequence, in the memory of one layer: evaluation needs no more.</summary>
    internal KeyValueCache CreateSinglePassCache(int capacity) => CreateCache(capacity, keepsLayers: false);

    /// <summary>Runs new tokens of one or more sequences through the decoder and appends them to the sequences' caches.</summary>
    /// <param name="tokens">
    /// Token ids [caches.Count * T]: T new tokens of the first sequence, then of the next. The linear layers see them as one matrix.
    /// </param>
    /// <param name="caches">One per sequence, each made by this model and given once.</param>
    /// <returns>
    /// The final hidden states [caches.Count * T, width of the token embedding], row by row, ready for <see cref="ComputeLogits"/>.
    /// </returns>
    /// <exception cref="ArgumentException">
    /// No tokens or caches, a number of tokens that the sequences cannot share, a token beyond the vocabulary, a sequence longer than its
    /// cache, or a cache of another model.
    /// </exception>
    /// <exception cref="InvalidOperationException">Another thread uses a cache.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public float[] Forward(ReadOnlySpan<int> tokens, params KeyValueCache[] caches) => Forward(tokens, caches, null);

    /// <inheritdoc cref="Forward(ReadOnlySpan{int}, KeyValueCache[])"/>
    /// <param name="tokens">As there.</param>
    /// <param name="caches">As there.</param>
    /// <param name="cancellation">Ends it between two layers; the caches stay as they were.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public float[] Forward(ReadOnlySpan<int> tokens, KeyValueCache[] caches, CancellationToken cancellation) => Forward(tokens, caches, null, cancellation);

    /// <summary>Computes logits: <c>hidden * output embedding^T</c>.</summary>
    /// <param name="hidden">Rows that <see cref="Forward(ReadOnlySpan{int}, KeyValueCache[])"/> returned, [rows, width of the token embedding].</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="logits">Receives [rows, vocabulary].</param>
    /// <exception cref="ArgumentException">A length does not fit the sizes.</exception>
    public void ComputeLogits(ReadOnlySpan<float> hidden, int rows, Span<float> logits) => _outputEmbedding.Forward(hidden, rows, logits);

    /// <summary>
    /// <see cref="Forward(ReadOnlySpan{int}, KeyValueCache[])"/> that shows the residual stream [rows, hidden] as transformers'
    /// <c>output_hidden_states</c> does: before each layer, and after the final norm.
    /// </summary>
    internal float[] Forward(ReadOnlySpan<int> tokens, KeyValueCache[] caches, Action<float[]>? observeHidden, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(caches);
        int entered = 0;
        try
        {
            foreach (KeyValueCache cache in caches)
            {
                ArgumentNullException.ThrowIfNull(cache, nameof(caches));
                if (!cache.TryEnter())
                {
                    // The same one twice is told apart from two threads.
                    throw caches.AsSpan(0, entered).Contains(cache)
                        ? new ArgumentException("A cache holds one sequence; one was given twice.", nameof(caches))
                        : new InvalidOperationException("Another thread uses the cache: give every thread caches of its own.");
                }

                entered++;
            }

            return Run(tokens, caches, observeHidden, cancellation);
        }
        finally
        {
            for (int i = 0; i < entered; i++)
            {
                caches[i].Exit();
            }
        }
    }

    private float[] Run(ReadOnlySpan<int> tokens, KeyValueCache[] caches, Action<float[]>? observeHidden, CancellationToken cancellation)
    {
        int tokensPerSequence = CheckArguments(tokens, caches);
        DecoderPass pass = new(Description, caches, tokensPerSequence, _maxDegreeOfParallelism);
        Embed(tokens, pass);
        for (int i = 0; i < _layers.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            observeHidden?.Invoke([.. pass.Hidden]);
            _layers[i].Forward(pass, i);
        }

        foreach (KeyValueCache cache in caches)
        {
            cache.Advance(tokensPerSequence);
        }

        if (_finalNorm is not null)
        {
            pass.Normalize(_finalNorm, pass.Hidden, pass.Hidden);
        }

        observeHidden?.Invoke([.. pass.Hidden]);
        if (_projectOut is null)
        {
            return pass.Hidden;
        }

        float[] projected = pass.Allocate(_projectOut.OutputFeatures);
        pass.Apply(_projectOut, pass.Hidden, projected);
        return projected;
    }

    /// <summary>Frees the layers and closes the checkpoint; the model must not be used any more.</summary>
    public void Dispose()
    {
        foreach (DecoderLayer layer in _layers)
        {
            layer.Dispose();
        }

        _projectIn?.Dispose();
        _projectOut?.Dispose();
        _outputEmbedding.Dispose();
        _positions?.Dispose();
        _tokens.Dispose();
        _checkpoint.Dispose();
    }

    private KeyValueCache CreateCache(int capacity, bool keepsLayers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(capacity, Description.ContextLength);
        return new KeyValueCache(this, Description, capacity, keepsLayers);
    }

    private int CheckArguments(ReadOnlySpan<int> tokens, KeyValueCache[] caches)
    {
        if (caches.Length == 0 || tokens.IsEmpty || tokens.Length % caches.Length != 0)
        {
            throw new ArgumentException($"{tokens.Length} tokens cannot be shared by {caches.Length} sequences.", nameof(tokens));
        }

        foreach (int token in tokens)
        {
            if (token < 0 || token >= Description.VocabularySize)
            {
                throw new ArgumentException(
                    $"Token {token} is outside of the vocabulary (0 to {Description.VocabularySize - 1}): use the model's own tokenizer.", nameof(tokens));
            }
        }

        int tokensPerSequence = tokens.Length / caches.Length;
        foreach (KeyValueCache cache in caches)
        {
            if (cache.Owner != this || (cache.Length > 0 && !cache.KeepsLayers))
            {
                throw new ArgumentException("A cache belongs to another model, or serves a single pass only.", nameof(caches));
            }

            if (cache.Length + tokensPerSequence > cache.Capacity)
            {
                throw new ArgumentException(
                    $"{cache.Length} + {tokensPerSequence} tokens exceed the cache's capacity of {cache.Capacity}.", nameof(caches));
            }
        }

        return tokensPerSequence;
    }

    private void Embed(ReadOnlySpan<int> tokens, DecoderPass pass)
    {
        int[] ids = tokens.ToArray();
        int hidden = Description.HiddenSize;
        int size = _tokens.Size;
        float[] embedded = _projectIn is null ? pass.Hidden : pass.Allocate(size);
        pass.ForRows(size, (first, count) =>
        {
            for (int row = first; row < first + count; row++)
            {
                _tokens.CopyTo(ids[row], embedded.AsSpan(row * size, size));
            }
        });
        if (_projectIn is not null)
        {
            pass.Apply(_projectIn, embedded, pass.Hidden);
        }

        if (_positions is not null)
        {
            int offset = ((LearnedPositions)Description.Positions).Offset;
            pass.ForRows(hidden, (first, count) =>
            {
                float[] position = new float[hidden];
                for (int row = first; row < first + count; row++)
                {
                    Span<float> target = pass.Hidden.AsSpan(row * hidden, hidden);
                    _positions.CopyTo(pass.Position(row) + offset, position);
                    TensorPrimitives.Add(target, position, target);
                }
            });
        }

        if (_embeddingNorm is not null)
        {
            pass.Normalize(_embeddingNorm, pass.Hidden, pass.Hidden);
        }
    }
}
