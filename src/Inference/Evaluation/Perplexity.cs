using System.Diagnostics;
using System.Numerics;
using System.Numerics.Tensors;
using KernelGen.Backends.Cpu;
using KernelGen.Inference.Observability;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Evaluation;

/// <summary>How perplexity is measured.</summary>
public sealed record PerplexityOptions
{
    /// <summary>Tokens per window, at least 2; null for 512 or the model's context length, whichever is less.</summary>
    public int? WindowLength { get; init; }

    /// <summary>Most windows to evaluate, from the text's start; null for all.</summary>
    public int? Windows { get; init; }

    /// <summary>
    /// Windows that go through the model at once. It matters beyond speed: schemes whose statistics span tokens (one scale for all
    /// activations, outlier columns) see the whole batch, so their figures change with it.
    /// </summary>
    public int BatchSize { get; init; } = 16;
}

/// <summary>How far an evaluation has come.</summary>
/// <param name="WindowsDone">Windows evaluated.</param>
/// <param name="Windows">Windows in all.</param>
/// <param name="Perplexity">Perplexity of what has been scored so far.</param>
public readonly record struct PerplexityProgress(int WindowsDone, int Windows, double Perplexity);

/// <summary>What an evaluation found.</summary>
/// <param name="Perplexity"><c>exp</c> of the mean negative log-likelihood per scored token.</param>
/// <param name="TokensScored">Number of tokens scored.</param>
/// <param name="Windows">Number of windows.</param>
public sealed record PerplexityResult(double Perplexity, long TokensScored, int Windows);

/// <summary>
/// Perplexity on a text: it is encoded whole, without a token for its beginning, and cut into consecutive windows; in each, every token
/// but the first is scored given the window's tokens before it. What is left after the last whole window is not used.
/// </summary>
public static class Perplexity
{
    internal const int DefaultWindowLength = 512;

    /// <summary>Logits that exist at a time: 32 MB.</summary>
    private const int LogitsPerBlock = 8 << 20;

    /// <summary>Evaluates a model on a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokens">The whole text's token ids.</param>
    /// <param name="options">Windows and batches; null for the defaults.</param>
    /// <param name="maxDegreeOfParallelism">Most threads for the scoring; -1 for one per processor.</param>
    /// <param name="progress">Receives progress after every batch.</param>
    /// <param name="cancellation">Ends the evaluation between two layers.</param>
    /// <exception cref="ArgumentException">The text is shorter than one window; the message says by how much and what to do.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static PerplexityResult Evaluate(
        TransformerModel model,
        ReadOnlySpan<int> tokens,
        PerplexityOptions? options = null,
        int maxDegreeOfParallelism = -1,
        IProgress<PerplexityProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        return Evaluate(new TransformerWindows(model), tokens, options, maxDegreeOfParallelism, progress, cancellation);
    }

    /// <summary>Evaluates a model, wherever it runs.</summary>
    internal static PerplexityResult Evaluate(
        IWindowModel model,
        ReadOnlySpan<int> tokens,
        PerplexityOptions? options,
        int maxDegreeOfParallelism,
        IProgress<PerplexityProgress>? progress,
        CancellationToken cancellation)
    {
        options ??= new PerplexityOptions();
        int context = model.Description.ContextLength;
        int length = options.WindowLength ?? Math.Min(DefaultWindowLength, context);
        if (length < 2 || length > context)
        {
            throw new ArgumentOutOfRangeException(
                nameof(options), length, $"A window has from 2 tokens to the model's context length, {context}.");
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.BatchSize, 1, nameof(options.BatchSize));
        if (options.Windows is int most)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(most, 1, nameof(options.Windows));
        }

        int windows = Math.Min(tokens.Length / length, options.Windows ?? int.MaxValue);
        if (windows == 0)
        {
            throw new ArgumentException(
                $"The text has {tokens.Length} tokens, fewer than one window of {length}: use a longer text or a shorter context.", nameof(tokens));
        }

        int batchSize = Math.Min(options.BatchSize, windows);
        double negativeLogLikelihood = 0;
        long scored = 0;
        using Activity? activity = TokenInstruments.StartEvaluation();
        activity?.SetTag("kernelgen.windows", windows);
        activity?.SetTag("kernelgen.window_length", length);
        for (int done = 0; done < windows;)
        {
            int batch = Math.Min(batchSize, windows - done);
            ReadOnlySpan<int> ids = tokens.Slice(done * length, batch * length);
            model.Run(ids, batch, cancellation);
            for (int window = 0; window < batch; window++)
            {
                cancellation.ThrowIfCancellationRequested();
                negativeLogLikelihood += ScoreWindow(
                    model, window * length, ids.Slice(window * length, length).ToArray(), maxDegreeOfParallelism);
                scored += length - 1;
            }

            done += batch;
            TokenInstruments.CountScored(batch * (length - 1L));
            progress?.Report(new PerplexityProgress(done, windows, Math.Exp(negativeLogLikelihood / scored)));
        }

        PerplexityResult result = new(Math.Exp(negativeLogLikelihood / scored), scored, windows);
        activity?.SetTag("kernelgen.perplexity", result.Perplexity);
        return result;
    }

    /// <summary>Negative log-likelihood of a window's tokens but the first.</summary>
    private static double ScoreWindow(IWindowModel model, int firstRow, int[] ids, int maxDegreeOfParallelism)
    {
        int vocabulary = model.Description.VocabularySize;
        int positions = ids.Length - 1;
        int rowsPerBlock = Math.Clamp(LogitsPerBlock / vocabulary, 1, positions);
        float[] logits = GC.AllocateUninitializedArray<float>(rowsPerBlock * vocabulary);
        double[] scores = new double[positions];
        for (int first = 0; first < positions; first += rowsPerBlock)
        {
            int start = first;
            int rows = Math.Min(rowsPerBlock, positions - start);
            model.ComputeLogits(firstRow + start, rows, logits.AsSpan(0, rows * vocabulary));
            CpuParallel.ForEach(rows, maxDegreeOfParallelism, row =>
                scores[start + row] = -LogSoftmaxAt(logits.AsSpan(row * vocabulary, vocabulary), ids[start + row + 1]));
        }

        // Summed in the order of the positions, so that the figure does not depend on the threads.
        return scores.Sum();
    }

    /// <summary>The log-probability of one token; writes over the logits.</summary>
    private static double LogSoftmaxAt(Span<float> logits, int token)
    {
        float max = TensorPrimitives.Max(logits);
        double chosen = (double)logits[token] - max;
        TensorPrimitives.Subtract(logits, max, logits);
        TensorPrimitives.Exp(logits, logits);

        Vector<double> sums = Vector<double>.Zero;
        int i = 0;
        for (; i <= logits.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector.Widen(new Vector<float>(logits[i..]), out Vector<double> low, out Vector<double> high);
            sums += low + high;
        }

        double sum = Vector.Sum(sums);
        for (; i < logits.Length; i++)
        {
            sum += logits[i];
        }

        return chosen - Math.Log(sum);
    }
}
