using KernelGen.Inference.Generation;

namespace KernelGen.Inference.Serving;

/// <summary>One sequence's part in a decoding step.</summary>
/// <param name="Slot">The sequence's slot.</param>
/// <param name="Token">Its last token, which the step feeds in.</param>
/// <param name="Position">That token's position.</param>
/// <param name="Options">How its next token is chosen.</param>
internal readonly record struct DecodeRow(int Slot, int Token, int Position, GenerationOptions Options);

/// <summary>
/// What computes a scheduler's steps: a model with a paged key-value cache and a number of slots, each for one sequence at a time. One thread uses it.
/// </summary>
internal interface IStepExecutor
{
    /// <summary>What a step gives for a sequence whose logits are not finite.</summary>
    const int NoToken = -1;

    /// <summary>Sequences that can be in the cache at once, and that one step can take.</summary>
    int Slots { get; }

    /// <summary>Pages of the cache.</summary>
    int Pages { get; }

    /// <summary>Positions per page.</summary>
    int PageSize { get; }

    /// <summary>Most positions of a sequence.</summary>
    int ContextLength { get; }

    /// <summary>Most tokens that <see cref="Prefill"/> takes at once.</summary>
    int PrefillChunk { get; }

    /// <summary>Puts a new sequence into a slot.</summary>
    /// <param name="slot">The slot.</param>
    /// <param name="pages">The pages of its positions: the first for positions from 0, the next for those from <see cref="PageSize"/> on.</param>
    void Place(int slot, ReadOnlySpan<int> pages);

    /// <summary>Runs a part of a sequence's prompt.</summary>
    /// <param name="slot">The sequence's slot.</param>
    /// <param name="tokens">From 1 to <see cref="PrefillChunk"/> tokens.</param>
    /// <param name="position">Position of the first; all before it have been run.</param>
    /// <param name="isLast">Whether the prompt ends with them, so that the next token is asked for.</param>
    /// <param name="options">How the next token is chosen.</param>
    /// <returns>The next token, or <see cref="NoToken"/>; 0 where it was not asked for.</returns>
    int Prefill(int slot, ReadOnlySpan<int> tokens, int position, bool isLast, GenerationOptions options);

    /// <summary>Runs one token of each of several sequences.</summary>
    /// <param name="rows">From 1 to <see cref="Slots"/> sequences, each once.</param>
    /// <param name="next">Receives their next tokens, or <see cref="NoToken"/>.</param>
    void Decode(ReadOnlySpan<DecodeRow> rows, Span<int> next);
}
