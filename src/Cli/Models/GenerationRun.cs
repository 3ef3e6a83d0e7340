using System.Diagnostics;
using KernelGen.Cli.Errors;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Tokenization;

namespace KernelGen.Cli.Models;

/// <summary>Why a generation ended.</summary>
internal enum FinishReason
{
    /// <summary>As many tokens as were asked for.</summary>
    Length,

    /// <summary>The model ended the text.</summary>
    EndOfSequence,

    /// <summary>The model's context is full.</summary>
    Context,
}

/// <summary>What a generation gave.</summary>
/// <param name="Tokens">The new tokens' ids.</param>
/// <param name="Text">Their text; null without a tokenizer.</param>
/// <param name="Finish">Why it ended.</param>
/// <param name="Seconds">Time from the prompt to the last token.</param>
/// <param name="FirstTokenSeconds">Time from the prompt to the first token.</param>
internal sealed record GenerationResult(IReadOnlyList<int> Tokens, string? Text, FinishReason Finish, double Seconds, double FirstTokenSeconds)
{
    public double TokensPerSecond => Tokens.Count / Seconds;
}

/// <summary>Generates and keeps time.</summary>
internal static class GenerationRun
{
    /// <summary>Continues a prompt.</summary>
    /// <param name="subject">The option that the prompt comes from, for messages.</param>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Decodes; null for ids only.</param>
    /// <param name="prompt">The prompt's ids.</param>
    /// <param name="options">How to choose and when to stop.</param>
    /// <param name="write">Receives the text piece by piece.</param>
    /// <param name="cancellation">Ends it between two layers.</param>
    /// <exception cref="BadInputException">The prompt does not fit the model, or the model computes no numbers.</exception>
    public static GenerationResult Run(
        string subject,
        LoadedModel model,
        Tokenizer? tokenizer,
        IReadOnlyList<int> prompt,
        GenerationOptions options,
        Action<string> write,
        CancellationToken cancellation)
    {
        IEnumerable<int> stream = BadInputException.Check(subject, () => model.Stream(prompt, options, cancellation));
        StreamingDecoder? decoder = tokenizer?.CreateStreamingDecoder();
        List<int> tokens = [];
        double firstTokenSeconds = 0;
        long start = Stopwatch.GetTimestamp();
        try
        {
            foreach (int token in stream)
            {
                if (tokens.Count == 0)
                {
                    firstTokenSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
                }

                tokens.Add(token);
                write(decoder?.Append(token) ?? "");
            }
        }
        catch (InvalidOperationException exception)
        {
            throw new BadInputException($"--model: {exception.Message}", exception);
        }

        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        write(decoder?.Flush() ?? "");
        FinishReason finish = tokens.Count > 0 && model.Description.EndOfSequenceTokens.Contains(tokens[^1])
            ? FinishReason.EndOfSequence
            : tokens.Count < options.MaxNewTokens ? FinishReason.Context : FinishReason.Length;
        return new GenerationResult(tokens, tokenizer?.Decode([.. tokens]), finish, seconds, firstTokenSeconds);
    }
}
