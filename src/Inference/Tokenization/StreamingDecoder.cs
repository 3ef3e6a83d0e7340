using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>Decodes tokens one by one as they are generated. The bytes of a character that is not complete yet are held back.</summary>
/// <remarks>
/// What <see cref="Append"/> returns, in order, and then <see cref="Flush"/>, together equal <see cref="Tokenizer.Decode"/> of all ids.
/// Not safe for several threads.
/// </remarks>
public sealed class StreamingDecoder
{
    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly DecodingState _state;

    internal StreamingDecoder(Tokenizer tokenizer, bool skipSpecialTokens, DecodingState state)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
        _state = state;
    }

    /// <summary>Takes the next token.</summary>
    /// <param name="id">Its id; an id without a token adds nothing.</param>
    /// <returns>
    /// The characters that it completes; empty if there are none. Characters written in byte tokens (<c>&lt;0x41&gt;</c>) are complete
    /// when another kind of token follows, since only then is it known whether they are valid.
    /// </returns>
    public string Append(int id)
    {
        StringBuilder text = new();
        _tokenizer.Append(id, _skipSpecialTokens, _state, text);
        return text.ToString();
    }

    /// <summary>Ends the text and makes the decoder ready for another.</summary>
    /// <returns>What was held back; U+FFFD for a character that was not completed.</returns>
    public string Flush()
    {
        StringBuilder text = new();
        _state.Flush(text);
        return text.ToString();
    }
}
