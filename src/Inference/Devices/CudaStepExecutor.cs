using KernelGen.Backends.Cuda;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Serving;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>
/// A scheduler's steps on a device. A decoding step is one launch of a graph, from the rows' tokens to the next ones; there is a graph per bucket of rows
/// and of context lengths, captured when it is needed first. Rows beyond those of a step hold no token and change nothing.
/// </summary>
internal sealed class CudaStepExecutor : IStepExecutor, IDisposable
{
    private readonly Dictionary<(int Rows, int Context), CudaGraph> _graphs = [];
    private readonly DecoderDescription _description;
    private readonly DeviceMemoryPlan _memory;
    private readonly CudaDecoder _decoder;
    private readonly CudaDecoderKernels _kernels;
    private readonly DecoderInputs _inputs;
    private readonly CudaStream _stream;

    public CudaStepExecutor(
        DecoderDescription description, DeviceMemoryPlan memory, CudaDecoder decoder, CudaDecoderKernels kernels, DecoderInputs inputs, CudaStream stream) =>
        (_description, _memory, _decoder, _kernels, _inputs, _stream) = (description, memory, decoder, kernels, inputs, stream);

    public int Slots => _memory.Batch;

    public int Pages => _memory.Pages;

    public int PageSize => DecoderRow.PageSize;

    public int ContextLength => _memory.Context;

    public int PrefillChunk => _memory.Chunk;

    public void Place(int slot, ReadOnlySpan<int> pages) => _inputs.Place(_stream, slot, pages);

    public int Prefill(int slot, ReadOnlySpan<int> tokens, int position, bool isLast, GenerationOptions options)
    {
        PromptTiles prompt = new(_inputs);
        prompt.Add(slot, tokens, position);
        _inputs.HostSampling[0] = SamplingOf(options);
        _inputs.Upload(_stream);
        _decoder.Queue(new DecoderRows(tokens.Length, prompt.Finish(), 0));
        if (isLast)
        {
            int last = tokens.Length - 1;
            _decoder.QueueLogits(last, 1);
            Choose(1, _inputs.Positions + (ulong)(last * sizeof(uint)));
        }

        _stream.Synchronize();
        return isLast ? Chosen(0) : 0;
    }

    public void Decode(ReadOnlySpan<DecodeRow> rows, Span<int> next)
    {
        int bucket = BatchBuckets.Of(rows.Length, _memory.Batch), longest = 0;
        for (int i = 0; i < bucket; i++)
        {
            bool active = i < rows.Length;
            DecodeRow row = active ? rows[i] : default;
            _inputs.HostTokens[i] = (uint)row.Token;
            _inputs.HostPositions[i] = active ? (uint)row.Position : DecoderRow.Inactive;
            _inputs.HostSequences[i] = (uint)row.Slot;
            _inputs.HostSampling[i] = active ? SamplingOf(row.Options) : default;
            longest = Math.Max(longest, row.Position + 1);
        }

        Run(bucket, BatchBuckets.OfContext(longest, _memory.Context));
        for (int i = 0; i < rows.Length; i++)
        {
            next[i] = Chosen(i);
        }
    }

    public void Dispose()
    {
        foreach (CudaGraph graph in _graphs.Values)
        {
            graph.Dispose();
        }
    }

    /// <summary>Runs a decoding step and waits for its tokens.</summary>
    private void Run(int rows, int context)
    {
        if (_graphs.TryGetValue((rows, context), out CudaGraph? graph))
        {
            graph.Launch(_stream);
            _stream.Synchronize();
            return;
        }

        // The first time the step itself is queued: kernels are compiled and loaded by it, which a capture forbids.
        QueueStep(rows, context);
        _stream.Synchronize();
        _graphs.Add((rows, context), _stream.Capture(() => QueueStep(rows, context)));
    }

    private void QueueStep(int rows, int context)
    {
        _inputs.UploadRows(_stream, rows);
        _decoder.Queue(new DecoderRows(rows, 0, context));
        _decoder.QueueLogits(0, rows);
        Choose(rows, _inputs.Positions);
    }

    private void Choose(int rows, ulong positions)
    {
        _kernels.Sample(_stream, rows, _decoder.Logits, _description.VocabularySize, _inputs.Sampling, _inputs.Tokens, positions);
        _inputs.DownloadChosen(_stream, rows);
    }

    private int Chosen(int row) => _inputs.Chosen[row] == DecoderRow.NoToken ? IStepExecutor.NoToken : (int)_inputs.Chosen[row];

    private static SamplingRow SamplingOf(GenerationOptions options) => new()
    {
        Temperature = options.Temperature,
        TopP = options.TopP,
        SeedLow = (uint)options.Seed,
    };
}
