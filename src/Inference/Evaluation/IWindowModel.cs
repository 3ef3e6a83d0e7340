using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Evaluation;

/// <summary>A model as an evaluation sees it: whole windows go in side by side, as one matrix, and logits come out for any of their rows.</summary>
internal interface IWindowModel
{
    DecoderDescription Description { get; }

    /// <summary>Runs windows.</summary>
    /// <param name="tokens">[windows * length] token ids.</param>
    /// <param name="windows">How many windows they are.</param>
    /// <param name="cancellation">Ends it between two layers.</param>
    void Run(ReadOnlySpan<int> tokens, int windows, CancellationToken cancellation);

    /// <summary>Logits [rows, vocabulary] of rows of the last <see cref="Run"/>.</summary>
    void ComputeLogits(int firstRow, int rows, Span<float> logits);
}

/// <summary>A model on the processor.</summary>
internal sealed class TransformerWindows(TransformerModel model) : IWindowModel
{
    private KeyValueCache[] _caches = [];
    private float[] _hidden = [];

    public DecoderDescription Description => model.Description;

    public void Run(ReadOnlySpan<int> tokens, int windows, CancellationToken cancellation)
    {
        int length = tokens.Length / windows;
        if (_caches.Length < windows || _caches[0].Capacity < length)
        {
            _caches = [.. Enumerable.Range(0, windows).Select(_ => model.CreateSinglePassCache(length))];
        }

        foreach (KeyValueCache cache in _caches)
        {
            cache.Clear();
        }

        _hidden = model.Forward(tokens, _caches[..windows], null, cancellation);
    }

    public void ComputeLogits(int firstRow, int rows, Span<float> logits)
    {
        int width = model.Description.TokenEmbedding.Size;
        model.ComputeLogits(_hidden.AsSpan(firstRow * width, rows * width), rows, logits);
    }
}
