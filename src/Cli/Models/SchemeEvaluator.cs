using System.Diagnostics;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Output;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Cli.Models;

/// <summary>What a scheme does to a model.</summary>
/// <param name="Scheme">The scheme.</param>
/// <param name="Perplexity">Perplexity on the text, NaN where the model computes none.</param>
/// <param name="TokensScored">Number of tokens scored.</param>
/// <param name="Windows">Number of windows that the text gave.</param>
/// <param name="Seconds">Time of the evaluation, without loading and converting.</param>
/// <param name="ModelBytes">Memory of all parameters, after the evaluation: outlier columns that were kept are in it.</param>
/// <param name="LinearBytes">Memory of the linear layers alone.</param>
internal sealed record SchemeResult(
    QuantizationScheme Scheme, double Perplexity, long TokensScored, int Windows, double Seconds, long ModelBytes, long LinearBytes);

/// <summary>Measures schemes on one model and one text.</summary>
/// <param name="modelFolder">The checkpoint's folder.</param>
/// <param name="textName">The text's file, for messages.</param>
/// <param name="tokens">The whole text's token ids.</param>
/// <param name="options">Windows and batches.</param>
/// <param name="settings">Where the model runs.</param>
internal sealed class SchemeEvaluator(
    string modelFolder, string textName, int[] tokens, PerplexityOptions options, ModelSettings settings)
{
    /// <summary>The share of a bar that loading gets; evaluating takes far longer.</summary>
    private const double LoadingShare = 0.1;

    /// <summary>Measures every scheme, one after the other.</summary>
    /// <param name="schemes">The schemes.</param>
    /// <param name="context">Shows the progress and tells when to stop.</param>
    /// <param name="silent">Shows no progress.</param>
    /// <param name="finished">Receives each result as soon as it is there.</param>
    public IReadOnlyList<SchemeResult> EvaluateAll(
        IReadOnlyList<QuantizationScheme> schemes, CommandContext context, bool silent, Action<SchemeResult>? finished = null) =>
        ProgressBars.Run(context, silent, bars =>
        {
            ProgressReporter all = bars.Start("all schemes");
            ProgressReporter one = bars.Start(schemes[0].Name);
            List<SchemeResult> results = [];
            foreach (QuantizationScheme scheme in schemes)
            {
                one.Describe(scheme.Name);
                SchemeResult result = Evaluate(
                    scheme,
                    new Relay<double>(share =>
                    {
                        one.Report(share);
                        all.Report((results.Count + share) / schemes.Count);
                    }),
                    context.Cancellation);
                results.Add(result);
                finished?.Invoke(result);
            }

            return results;
        });

    private SchemeResult Evaluate(QuantizationScheme scheme, IProgress<double> progress, CancellationToken cancellation)
    {
        int context = ModelFamilies.Describe(ConfigReader.Open(modelFolder)).ContextLength;
        if (options.WindowLength is int length && length > context)
        {
            throw new BadInputException($"--context: {length} exceeds the context length of '{modelFolder}', {context}. Use that or less.");
        }

        using LoadedModel loaded = LoadedModel.ForEvaluation(
            modelFolder, scheme, settings, options, new Relay<double>(share => progress.Report(LoadingShare * share)), cancellation);
        long start = Stopwatch.GetTimestamp();
        PerplexityResult result = BadInputException.Check(textName, () => loaded.Evaluate(
            tokens,
            options,
            new Relay<PerplexityProgress>(done => progress.Report(LoadingShare + ((1 - LoadingShare) * done.WindowsDone / done.Windows))),
            cancellation));
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return new SchemeResult(
            scheme, result.Perplexity, result.TokensScored, result.Windows, seconds, loaded.Bytes, loaded.LinearBytes);
    }

    /// <summary>Hands progress on at once, on the thread that reports it.</summary>
    private sealed class Relay<T>(Action<T> report) : IProgress<T>
    {
        public void Report(T value) => report(value);
    }
}
