using KernelGen.Inference.Generation;
using KernelGen.Inference.Serving;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>A scheduler's steps on a device, or on several. Rows beyond those of a step hold no token and change nothing.</summary>
internal sealed class CudaStepExecutor(DecoderDescription description, DecoderPipeline pipeline) : IStepExecutor
{
    private readonly CudaStage _home = pipeline.Home;
    private readonly DeviceMemoryPlan _memory = pipeline.Home.Memory;
    private readonly DecoderInputs _inputs = pipeline.Home.Inputs;

    public int Slots => _memory.Batch;

    public int Pages => _memory.Pages;

    public int PageSize => DecoderRow.PageSize;

    public int ContextLength => _memory.Context;

    public int PrefillChunk => _memory.Chunk;

    public void Place(int slot, ReadOnlySpan<int> pages) => pipeline.Place(slot, pages);

    public int Prefill(int slot, ReadOnlySpan<int> tokens, int position, bool isLast, GenerationOptions options)
    {
        PromptTiles prompt = new(_inputs);
        prompt.Add(slot, tokens, position);
        _inputs.HostSampling[0] = SamplingOf(options);
        pipeline.RunPrompt(new DecoderRows(tokens.Length, prompt.Finish(), 0, position, slot));
        if (isLast)
        {
            int last = tokens.Length - 1;
            _home.Decoder.QueueLogits(last, 1);
            Choose(1, _inputs.Positions + (ulong)(last * sizeof(uint)));
        }

        _home.Stream.Synchronize();
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

        pipeline.RunStep(new DecoderRows(bucket, 0, BatchBuckets.OfContext(longest, _memory.Context)), () =>
        {
            _home.Decoder.QueueLogits(0, bucket);
            Choose(bucket, _inputs.Positions);
        });
        _home.Stream.Synchronize();
        for (int i = 0; i < rows.Length; i++)
        {
            next[i] = Chosen(i);
        }
    }

    private void Choose(int rows, ulong positions) =>
        _home.Kernels.Sample(_home.Stream, rows, _home.Decoder.Logits, description.VocabularySize, _inputs.Sampling, _inputs.ChosenAddress, positions);

    private int Chosen(int row) => _inputs.Chosen[row] == DecoderRow.NoToken ? IStepExecutor.NoToken : (int)_inputs.Chosen[row];

    private static SamplingRow SamplingOf(GenerationOptions options) => new()
    {
        Temperature = options.Temperature,
        TopP = options.TopP,
        SeedLow = (uint)options.Seed,
    };
}
