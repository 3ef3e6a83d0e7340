using System.Threading.Channels;
using KernelGen.Inference.Generation;

namespace KernelGen.Inference.Serving;

/// <summary>One request on its way: what was asked for, where it stands, and where its tokens go.</summary>
internal sealed class Sequence
{
    private readonly Channel<int> _output = Channel.CreateUnbounded<int>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });

    /// <param name="prompt">At least one token.</param>
    /// <param name="newTokens">Most tokens to generate, at least one; with the prompt within the context.</param>
    /// <param name="options">How to choose.</param>
    /// <param name="endTokens">Tokens that end the text; empty where none does.</param>
    /// <param name="cancellation">Ends it between two steps.</param>
    public Sequence(int[] prompt, int newTokens, GenerationOptions options, IReadOnlyList<int> endTokens, CancellationToken cancellation)
    {
        Prompt = prompt;
        NewTokens = newTokens;
        EndTokens = endTokens;
        Cancellation = cancellation;
        Options = options;
    }

    public int[] Prompt { get; }

    public int NewTokens { get; }

    public IReadOnlyList<int> EndTokens { get; }

    public CancellationToken Cancellation { get; }

    public GenerationOptions Options { get; }

    /// <summary>The tokens as they come; its end has the error, if there was one.</summary>
    public ChannelReader<int> Output => _output.Reader;

    /// <summary>Positions that the cache needs to have for it: the last token is not fed back.</summary>
    public int Positions => Prompt.Length + NewTokens - 1;

    /// <summary>Called once, when it leaves the queue, whether into a slot or because it was cancelled.</summary>
    public Action? LeftQueue { get; init; }

    /// <summary>The slot, or -1 outside of one.</summary>
    public int Slot { get; set; } = -1;

    /// <summary>The pages of its positions.</summary>
    public int[] Pages { get; set; } = [];

    /// <summary>Positions in the cache.</summary>
    public int Length { get; set; }

    /// <summary>The token generated last.</summary>
    public int LastToken { get; private set; }

    /// <summary>Tokens generated.</summary>
    public int Generated { get; private set; }

    /// <summary>Hands a token out.</summary>
    /// <returns>Whether it was the last.</returns>
    public bool Emit(int token)
    {
        LastToken = token;
        Generated++;
        _ = _output.Writer.TryWrite(token);
        return Generated == NewTokens || EndTokens.Contains(token);
    }

    /// <summary>Ends the output.</summary>
    public void Complete(Exception? error = null) => _ = _output.Writer.TryComplete(error);
}
