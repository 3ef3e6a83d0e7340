using System.Buffers;
using System.Globalization;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>Finds added tokens in a text: the leftmost match first, of several there the longest.</summary>
internal sealed class AddedTokenSplitter
{
    private const int Root = 0;

    private readonly Dictionary<(int Node, char Next), int> _edges = [];
    private readonly Dictionary<int, AddedToken> _tokenAtNode = [];
    private readonly SearchValues<char> _firstCharacters;

    /// <summary>Takes tokens of different contents.</summary>
    public AddedTokenSplitter(IEnumerable<AddedToken> tokens)
    {
        int nodes = Root + 1;
        HashSet<char> first = [];
        foreach (AddedToken token in tokens)
        {
            first.Add(token.Content[0]);
            int node = Root;
            foreach (char next in token.Content)
            {
                if (!_edges.TryGetValue((node, next), out int child))
                {
                    _edges.Add((node, next), child = nodes++);
                }

                node = child;
            }

            _tokenAtNode[node] = token;
        }

        _firstCharacters = SearchValues.Create([.. first]);
    }

    /// <summary>Cuts a text into the tokens found and the text between them, in order; empty text is left out.</summary>
    /// <param name="text">The text to search.</param>
    /// <param name="offset">Added to every position that is returned.</param>
    /// <param name="segments">Receives the pieces.</param>
    public void Split(ReadOnlySpan<char> text, int offset, List<TextSegment> segments)
    {
        int done = 0;
        int position = 0;
        while (true)
        {
            int skip = text[position..].IndexOfAny(_firstCharacters);
            if (skip < 0)
            {
                break;
            }

            position += skip;
            AddedToken? token = LongestAt(text[position..]);
            if (token is null)
            {
                position++;
                continue;
            }

            int start = position;
            int end = position + token.Content.Length;
            // The search goes on behind the content itself, also when the match is rejected or has taken white space along.
            position = end;
            if (token.SingleWord && (EndsInWord(text[..start]) || BeginsWithWord(text[end..])))
            {
                continue;
            }

            if (token.StripLeft)
            {
                start = text[..start].TrimEnd().Length;
            }

            if (token.StripRight)
            {
                end = text.Length - text[end..].TrimStart().Length;
            }

            // A token before may have taken this one's white space.
            start = Math.Max(start, done);
            if (start > done)
            {
                segments.Add(new TextSegment(offset + done, start - done, TextSegment.NoToken));
            }

            segments.Add(new TextSegment(offset + start, Math.Max(end - start, 0), token.Id));
            done = Math.Max(end, done);
        }

        if (done < text.Length)
        {
            segments.Add(new TextSegment(offset + done, text.Length - done, TextSegment.NoToken));
        }
    }

    private AddedToken? LongestAt(ReadOnlySpan<char> text)
    {
        AddedToken? longest = null;
        int node = Root;
        foreach (char next in text)
        {
            if (!_edges.TryGetValue((node, next), out node))
            {
                break;
            }

            longest = _tokenAtNode.GetValueOrDefault(node, longest!);
        }

        return longest;
    }

    private static bool EndsInWord(ReadOnlySpan<char> text) =>
        !text.IsEmpty && Rune.DecodeLastFromUtf16(text, out Rune last, out _) == OperationStatus.Done && IsWordCharacter(last);

    private static bool BeginsWithWord(ReadOnlySpan<char> text) =>
        !text.IsEmpty && Rune.DecodeFromUtf16(text, out Rune first, out _) == OperationStatus.Done && IsWordCharacter(first);

    /// <summary>What regular expressions call <c>\w</c> in Unicode mode.</summary>
    private static bool IsWordCharacter(Rune rune) =>
        rune.Value is 0x200C or 0x200D || Rune.GetUnicodeCategory(rune) is
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber
            or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation
            or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;
}
