using System.Text;
using System.Text.Unicode;

namespace KernelGen.Inference.Tokenization;

/// <summary>Joins what tokens add to a text; holds back the bytes of characters that are not complete yet.</summary>
internal sealed class DecodingState(TokenDecoder decoder)
{
    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private readonly List<byte> _fallback = [];
    private int _toStrip = decoder.MostStripped;

    /// <summary>Whether no token has been appended yet.</summary>
    public bool IsStart { get; private set; } = true;

    /// <summary>Appends the characters that a token completes.</summary>
    public void Append(DecodedPiece piece, StringBuilder text)
    {
        IsStart = false;
        if (piece.IsFallback)
        {
            _fallback.AddRange(piece.Bytes);
            return;
        }

        EndFallback(text);
        Decode(piece.Bytes, flush: false, text);
    }

    /// <summary>Ends the text and begins another.</summary>
    public void Flush(StringBuilder text)
    {
        EndFallback(text);
        Decode([], flush: true, text);
        _toStrip = decoder.MostStripped;
        IsStart = true;
    }

    private void EndFallback(StringBuilder text)
    {
        if (_fallback.Count == 0)
        {
            return;
        }

        byte[] bytes = [.. _fallback];
        _fallback.Clear();
        Emit(Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : new string('\uFFFD', bytes.Length), text);
    }

    private void Decode(ReadOnlySpan<byte> bytes, bool flush, StringBuilder text)
    {
        char[] characters = new char[Encoding.UTF8.GetMaxCharCount(bytes.Length)];
        Emit(characters.AsSpan(0, _utf8.GetChars(bytes, characters, flush)), text);
    }

    private void Emit(ReadOnlySpan<char> characters, StringBuilder text)
    {
        while (_toStrip > 0 && !characters.IsEmpty)
        {
            bool strips = characters[0] == decoder.Stripped;
            _toStrip = strips ? _toStrip - 1 : 0;
            characters = strips ? characters[1..] : characters;
        }

        text.Append(characters);
    }
}
