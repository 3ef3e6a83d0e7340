using KernelGen.Backends.Cuda;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>A model on a device as an evaluation uses it: each window has a slot, and all go through as one matrix.</summary>
internal sealed class CudaWindows(DecoderDescription description, DeviceMemoryPlan memory, CudaDecoder decoder, DecoderInputs inputs, CudaStream stream) : IWindowModel
{
    public DecoderDescription Description => description;

    public void Run(ReadOnlySpan<int> tokens, int windows, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        int length = tokens.Length / windows, pages = (length + DecoderRow.PageSize - 1) / DecoderRow.PageSize;
        if (windows > memory.Batch || length > memory.Context || tokens.Length > memory.Rows || (long)windows * pages > memory.Pages)
        {
            throw new InvalidOperationException(
                $"{windows} windows of {length} tokens do not fit a model that was loaded for {memory.Batch} texts of {memory.Context} tokens and {memory.Rows} rows.");
        }

        PromptTiles prompt = new(inputs);
        for (int window = 0; window < windows; window++)
        {
            int first = window * pages;
            inputs.Place(stream, window, [.. Enumerable.Range(first, pages)]);
            prompt.Add(window, tokens.Slice(window * length, length), 0);
        }

        int tiles = prompt.Finish();
        inputs.Upload(stream);
        decoder.Queue(new DecoderRows(tokens.Length, tiles, 0));
        stream.Synchronize();
    }

    public void ComputeLogits(int firstRow, int rows, Span<float> logits)
    {
        int vocabulary = description.VocabularySize;
        for (int done = 0; done < rows; done += memory.LogitRows)
        {
            int count = Math.Min(memory.LogitRows, rows - done);
            decoder.QueueLogits(firstRow + done, count);
            decoder.ReadLogits(logits.Slice(done * vocabulary, count * vocabulary));
        }
    }
}
