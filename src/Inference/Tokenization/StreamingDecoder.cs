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
    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();

    internal StreamingDecoder(Tokenizer tokenizer, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
    }

    /// <summary>Takes the next token.</summary>
    /// <param name="id">Its id; an id without a token adds nothing.</param>
    /// <returns>The characters that it completes; empty if there are none.</returns>
    public string Append(int id) => Decode(_tokenizer.BytesOf(id, _skipSpecialTokens), flush: false);

    /// <summary>Ends the text and makes the decoder ready for another.</summary>
    /// <returns>U+FFFD if the last character was not completed, else an empty string.</returns>
    public string Flush() => Decode([], flush: true);

    private string Decode(ReadOnlySpan<byte> bytes, bool flush)
    {
        char[] characters = new char[Encoding.UTF8.GetMaxCharCount(bytes.Length)];
        return new string(characters, 0, _decoder.GetChars(bytes, characters, flush));
    }
}
