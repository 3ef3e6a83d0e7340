using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>A model on devices as an evaluation uses it: each window has a slot, and all go through as one matrix.</summary>
internal sealed class CudaWindows(DecoderDescription description, DecoderPipeline pipeline) : IWindowModel
{
    private readonly CudaStage _home = pipeline.Home;

    public DecoderDescription Description => description;

    public void Run(ReadOnlySpan<int> tokens, int windows, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        DeviceMemoryPlan memory = _home.Memory;
        int length = tokens.Length / windows, pages = DecoderRow.PagesFor(length);
        if (windows > memory.Batch || length > memory.Context || tokens.Length > memory.Rows || (long)windows * pages > memory.Pages)
        {
            throw new InvalidOperationException(
                $"{windows} windows of {length} tokens do not fit a model that was loaded for {memory.Batch} texts of {memory.Context} tokens and {memory.Rows} rows.");
        }

        PromptTiles prompt = new(_home.Inputs);
        for (int window = 0; window < windows; window++)
        {
            int first = window * pages;
            pipeline.Place(window, [.. Enumerable.Range(first, pages)]);
            prompt.Add(window, tokens.Slice(window * length, length), 0);
        }

        pipeline.RunPrompt(new DecoderRows(tokens.Length, prompt.Finish(), 0));
        _home.Stream.Synchronize();
    }

    public void ComputeLogits(int firstRow, int rows, Span<float> logits)
    {
        int most = _home.Memory.LogitRows, vocabulary = description.VocabularySize;
        for (int done = 0; done < rows; done += most)
        {
            int count = Math.Min(most, rows - done);
            _home.Decoder.QueueLogits(firstRow + done, count);
            _home.Decoder.ReadLogits(logits.Slice(done * vocabulary, count * vocabulary));
        }
    }
}
