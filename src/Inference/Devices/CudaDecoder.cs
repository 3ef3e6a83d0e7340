using KernelGen.Backends.Cuda;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>Which rows a pass runs: their inputs on the device, and how they attend.</summary>
/// <param name="Rows">Rows, those without a token among them.</param>
/// <param name="Tiles">Tiles of prompts; 0 for a decoding step of single tokens.</param>
/// <param name="LongestContext">Decoding: positions that no row has more of.</param>
/// <param name="Past">Positions of a prompt that goes on which are in the cache already.</param>
/// <param name="PastSequence">Its line of the page table.</param>
internal readonly record struct DecoderRows(int Rows, int Tiles, int LongestContext, int Past = 0, int PastSequence = 0)
{
    public bool IsDecoding => Tiles == 0;

    /// <summary>Whether no row is without a token: only the graph of several sequences' step has such.</summary>
    public bool AllHoldTokens => !IsDecoding || Rows == 1;
}

/// <summary>
/// A decoder on a device, top to bottom: queues a pass of rows on a stream, from tokens to the final hidden states, and logits from those; or the part of
/// it that is on this device, from one residual stream to another. Nothing waits for the host and every address is fixed, so a pass can be captured in a
/// CUDA graph.
/// </summary>
internal sealed class CudaDecoder : IDisposable
{
    private readonly DecoderPlan _plan;
    private readonly DeviceMemoryPlan _memory;
    private readonly CudaParameters _parameters;
    private readonly DecoderBuffers _buffers;
    private readonly DecoderInputs _inputs;
    private readonly CudaPagedCache _cache;
    private readonly CudaMultiplication _multiplication;
    private readonly CudaDecoderKernels _kernels;
    private readonly CudaAttentionWorkspace _attention;
    private readonly CudaStream _stream;

    /// <summary>What the norm ahead leaves to the multiplication that comes next.</summary>
    private ProductInput _input;

    /// <summary>The residual stream as far as the pass is queued.</summary>
    private CudaMatrix _residual;

    public CudaDecoder(DecoderPlan plan, DeviceMemoryPlan memory, CudaParameters parameters, DecoderInputs inputs, CudaDecoderKernels kernels, float? threshold, CudaStream stream)
    {
        DecoderDescription description = plan.Description;
        (_plan, _memory, _parameters, _inputs, _kernels, _stream) = (plan, memory, parameters, inputs, kernels, stream);
        CudaContext context = stream.Context;
        try
        {
            _attention = new CudaAttentionWorkspace(context, stream);
            _multiplication = new CudaMultiplication(plan, memory, kernels, threshold, stream);
            _buffers = new DecoderBuffers(plan, memory, context);
            _cache = new CudaPagedCache(memory, inputs.PageTable, context);
            _attention.Reserve(memory.Batch, description.Heads, description.HeadSize);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public CudaMatrix Logits => _buffers.Logits;

    public void Dispose()
    {
        _cache?.Dispose();
        _buffers?.Dispose();
        _multiplication?.Dispose();
        _attention?.Dispose();
    }

    /// <summary>The residual stream between two devices, f32 [rows, hidden].</summary>
    public CudaMatrix Residual => _buffers.Residual;

    private bool IsWhole => _memory.IsHome && _memory.Layers.Count == _plan.Layers.Count;

    /// <summary>
    /// Queues this device's layers, at home behind the embedding. The final hidden states are in <see cref="Hidden"/> then where all layers are here;
    /// otherwise the residual stream is complete.
    /// </summary>
    public void Queue(DecoderRows rows)
    {
        _residual = _buffers.Residual;
        if (_memory.IsHome)
        {
            Embed(rows);
        }

        Addends addends = default;
        CudaNormWeights? carried = null;
        for (int i = 0; i < _parameters.Layers.Count; i++)
        {
            CudaLayer layer = _parameters.Layers[i];
            Enter(rows, layer, carried, addends);
            Attend(rows, i, layer);
            EnterMlp(rows, layer);
            RunMlp(rows, layer);
            addends = layer.Plan.Description.Residual == ResidualForm.Parallel
                ? new Addends(_buffers.AttentionBranch, _buffers.MlpBranch)
                : new Addends(_buffers.MlpBranch, default);
            carried = layer.Plan.Description.Residual == ResidualForm.PostNorm ? Norm(layer.Plan.Description.MlpNorm) : null;
        }

        if (IsWhole)
        {
            Finish(rows, carried, addends);
        }
        else if (carried is not null || addends.First.Address != 0)
        {
            _ = Normalize(rows, carried, addends, null, replace: carried is not null, round: false, sum: _buffers.Residual);
        }
    }

    /// <summary>Queues what follows the last layer, from the residual stream that another device gave back.</summary>
    public void QueueEnd(DecoderRows rows)
    {
        _residual = _buffers.Residual;
        Finish(rows, null, default);
    }

    /// <summary>The final hidden states, f16 [rows, width of the token embedding].</summary>
    public CudaMatrix Hidden => _parameters.ProjectOut is null ? _buffers.Normed : _buffers.Embedded;

    /// <summary>Queues logits of neighbouring rows of the last pass; the same bits for a row whatever the others.</summary>
    public void QueueLogits(int firstRow, int rows)
    {
        CudaMatrix hidden = Hidden, logits = Logits;
        CudaMatrix input = hidden with { Address = hidden.Address + (ulong)((long)firstRow * hidden.RowStride * hidden.ElementBytes) };
        int vocabulary = _plan.Description.VocabularySize, size = _plan.Description.TokenEmbedding.Size;
        _kernels.FloatGemm(_stream, input, rows, _parameters.Output, vocabulary, size, logits, invariant: true);
    }

    /// <summary>Copies logits that were queued to the host, and waits for them.</summary>
    public void ReadLogits(Span<float> destination) => _buffers.ReadLogits(destination, _stream);

    private CudaNormWeights Norm(NormDescription description) => _parameters.Norm(description);

    private void Embed(DecoderRows rows)
    {
        DecoderDescription description = _plan.Description;
        int size = description.TokenEmbedding.Size, vocabulary = description.VocabularySize;
        (int positionRows, int offset) = description.Positions is LearnedPositions learned ? (learned.Table.Rows, learned.Offset) : (0, 0);
        if (_parameters.ProjectIn is { } projection)
        {
            _kernels.Embed(_stream, rows.Rows, _inputs.Tokens, _inputs.Positions, _parameters.Tokens, vocabulary, default, 0, 0, 1, size, _buffers.Embedded);
            _multiplication.Multiply(projection, new ProductInput(_buffers.Embedded), rows.Rows, _buffers.Residual);
            if (positionRows > 0)
            {
                _kernels.Embed(
                    _stream, rows.Rows, 0, _inputs.Positions, _parameters.Tokens, vocabulary, _parameters.Positions, positionRows, offset, 1, description.HiddenSize, _buffers.Residual);
            }
        }
        else
        {
            _kernels.Embed(
                _stream, rows.Rows, _inputs.Tokens, _inputs.Positions, _parameters.Tokens, vocabulary, _parameters.Positions, positionRows, offset, 1, size, _buffers.Residual);
        }

        if (description.EmbeddingNorm is { } norm)
        {
            _ = Normalize(rows, Norm(norm), default, null, replace: true, round: false);
        }
    }

    /// <summary>The input of a layer's attention: what the layer before left to be added is added.</summary>
    private void Enter(DecoderRows rows, CudaLayer layer, CudaNormWeights? carried, Addends addends)
    {
        DecoderLayerDescription description = layer.Plan.Description;
        CudaMatrixWeights next = layer.QueryKeyValue;
        _input = description.Residual switch
        {
            ResidualForm.PostNorm => Normalize(rows, carried, addends, next, replace: carried is not null),
            _ => Normalize(rows, Norm(description.AttentionNorm), Settle(rows, carried, addends), next, replace: description.Residual == ResidualForm.PreNormReplacing),
        };
    }

    /// <summary>Applies a norm that the layer before left to be applied to its sum, where this layer's own norm cannot do it.</summary>
    private Addends Settle(DecoderRows rows, CudaNormWeights? carried, Addends addends)
    {
        if (carried is null)
        {
            return addends;
        }

        _ = Normalize(rows, carried, addends, null, replace: true, round: false);
        return default;
    }

    private void Attend(DecoderRows rows, int index, CudaLayer layer)
    {
        DecoderDescription description = _plan.Description;
        AttentionDescription attention = layer.Plan.Description.Attention;
        _multiplication.Multiply(layer.QueryKeyValue, _input, rows.Rows, _buffers.QueryKeyValue);
        int size = description.HeadSize, stride = _plan.QueryKeyValueWidth;
        CudaHeads queries = Heads(0), keys = Heads(description.Heads), values = Heads(description.Heads + description.KeyValueHeads);
        CudaAttentionShape shape = new(description.Heads, description.KeyValueHeads, size, attention.Scale, attention.Window ?? 0, _parameters.Slopes);
        CudaKeyValuePages pages = _cache.Layer(index);

        CudaInt8Pages? int8 = _cache.Int8(index);

        // Where nothing is turned, the decoding attention writes keys and values to a float16 cache itself.
        bool stores = !rows.IsDecoding || _parameters.Rotary.Table != 0 || int8 is not null;
        if (stores)
        {
            _kernels.RotaryAndStore(_stream, rows.Rows, shape, queries, keys, values, _inputs.Positions, _inputs.Sequences, _parameters.Rotary, pages);
        }

        if (int8 is { } packed)
        {
            _kernels.PackCache(_stream, rows.Rows, shape, _inputs.Positions, _inputs.Sequences, pages, packed);
            if (rows.Past > 0)
            {
                _kernels.WidenCache(_stream, rows.PastSequence, rows.Past, shape, pages, packed);
            }
        }

        if (rows.IsDecoding)
        {
            // A pass begins with a copy of its positions: all passes before it are complete by then. Steps of an int8 cache lie eight to a sector, the row's own among
            // them, and no oracle has seen that read early.
            _kernels.AttentionDecode(
                _stream, rows.Rows, shape, queries, stores ? default : keys, stores ? default : values, _inputs.Positions, _inputs.Sequences, pages, rows.LongestContext, _buffers.Attended, _attention, int8, settled: int8 is null);
        }
        else
        {
            _kernels.AttentionPrefill(_stream, _inputs.Tiles, rows.Tiles, shape, queries, pages, _buffers.Attended);
        }

        _multiplication.Multiply(layer.Output, new ProductInput(_buffers.Attended), rows.Rows, _buffers.AttentionBranch);

        CudaHeads Heads(int first) => new(_buffers.QueryKeyValue.Address + (ulong)((long)first * size * sizeof(ushort)), stride, size);
    }

    /// <summary>The input of a layer's MLP.</summary>
    private void EnterMlp(DecoderRows rows, CudaLayer layer)
    {
        DecoderLayerDescription description = layer.Plan.Description;
        Addends attention = new(_buffers.AttentionBranch, default);
        _input = description.Residual switch
        {
            // The MLP's input is the stream before attention is added.
            ResidualForm.Parallel => Normalize(rows, Norm(description.MlpNorm), default, layer.Up, replace: false),
            ResidualForm.PostNorm => Normalize(rows, Norm(description.AttentionNorm), attention, layer.Up, replace: true),
            _ => Normalize(rows, Norm(description.MlpNorm), attention, layer.Up, replace: description.Residual == ResidualForm.PreNormReplacing),
        };
    }

    private void RunMlp(DecoderRows rows, CudaLayer layer)
    {
        MlpDescription mlp = layer.Plan.Description.Mlp;
        int width = mlp.Up.OutputFeatures;
        CudaMatrix inner = _buffers.Inner with { RowStride = layer.Up.Plan.OutputFeatures };
        if (rows.AllHoldTokens && mlp.Gate is null && mlp.Activation == ActivationFunction.Relu)
        {
            // Rounding moves no sign, so the product's ReLU is the gate's, but for the sign of zeros. Rows without a token the gate would make zeros.
            _multiplication.Multiply(layer.Up, _input, rows.Rows, inner, Activation.Relu);
            _multiplication.Multiply(layer.Down, new ProductInput(inner), rows.Rows, _buffers.MlpBranch);
            return;
        }

        _multiplication.Multiply(layer.Up, _input, rows.Rows, inner);
        CudaMatrix factor = mlp.Gate is null ? default : inner with { Address = inner.Address + (ulong)((long)width * sizeof(ushort)) };
        Prepared prepared = _multiplication.Prepare(layer.Down, rows.Rows, target =>
            _kernels.Gate(_stream, ActivationOf(mlp.Activation), rows.Rows, width, inner, factor, inner, _inputs.Positions, target));
        _multiplication.Multiply(layer.Down, new ProductInput(inner, prepared), rows.Rows, _buffers.MlpBranch);
    }

    private void Finish(DecoderRows rows, CudaNormWeights? carried, Addends addends)
    {
        CudaMatrixWeights? next = _parameters.ProjectOut;
        if (_plan.Description.FinalNorm is { } norm)
        {
            _input = Normalize(rows, Norm(norm), Settle(rows, carried, addends), next, replace: false);
        }
        else
        {
            _input = Normalize(rows, carried, addends, next, replace: false);
        }

        if (next is not null)
        {
            _multiplication.Multiply(next, _input, rows.Rows, _buffers.Embedded);
        }
    }

    /// <summary>
    /// Adds to the residual stream, and normalizes it or, without a norm, rounds it, for a matrix that comes next; or leaves that to the product with it.
    /// </summary>
    private ProductInput Normalize(
        DecoderRows rows, CudaNormWeights? norm, Addends addends, CudaMatrixWeights? next, bool replace, bool round = true, CudaMatrix sum = default)
    {
        if (rows.Rows == 1 && norm is { } weights && !replace && next is not null && _multiplication.Normalizes(next, _buffers.Normed) is { } kernel)
        {
            return new ProductInput(_buffers.Normed, Norm: (Leave(weights, addends), kernel));
        }

        return new ProductInput(_buffers.Normed, _multiplication.Prepare(next, rows.Rows, target => _kernels.Norm(
            _stream,
            norm?.Kind ?? CudaNorm.None,
            rows.Rows,
            _plan.Description.HiddenSize,
            _residual.Address,
            addends.First,
            addends.Second,
            norm?.Weight ?? 0,
            norm?.Bias ?? 0,
            norm?.Description.Epsilon ?? 0,
            round ? _buffers.Normed : default,
            _inputs.Positions,
            target,
            replace,
            sum.Address)));
    }

    /// <summary>The norm of a single row, which always holds a token, for the product that comes next; where something is added, the residual stream moves.</summary>
    private CudaNormInput Leave(CudaNormWeights norm, Addends addends)
    {
        CudaMatrix from = _residual;
        bool adds = addends.First.Address != 0 || addends.Second.Address != 0;
        if (adds)
        {
            _residual = from.Address == _buffers.Residual.Address ? _buffers.OtherResidual : _buffers.Residual;
        }

        return new CudaNormInput(
            norm.Kind, from.Address, adds ? _residual.Address : 0, addends.First.Address, addends.Second.Address, norm.Weight, norm.Bias, norm.Description.Epsilon);
    }

    private static Activation ActivationOf(ActivationFunction function) => function switch
    {
        ActivationFunction.Relu => Activation.Relu,
        ActivationFunction.Gelu => Activation.Gelu,
        ActivationFunction.GeluTanh => Activation.GeluTanh,
        _ => Activation.Silu,
    };

    /// <summary>What is still to be added to the residual stream: none, one or two branches.</summary>
    private readonly record struct Addends(CudaMatrix First, CudaMatrix Second);
}
