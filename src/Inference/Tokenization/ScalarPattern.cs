using System.Collections.Frozen;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace KernelGen.Inference.Tokenization;

/// <summary>
/// A regular expression as tokenizer files have them, over Unicode characters. .NET's match UTF-16 units, in which a letter beyond the
/// Basic Multilingual Plane is two units that are no letters; so in a text with such characters each is replaced by one of its category
/// before matching, and the matches are carried back.
/// </summary>
internal sealed class ScalarPattern
{
    /// <summary>A sane pattern takes microseconds; a hostile one could take years.</summary>
    private static readonly TimeSpan s_timeout = TimeSpan.FromMilliseconds(250);

    private static readonly FrozenDictionary<UnicodeCategory, char> s_representatives = Representatives();

    private readonly string _source;
    private readonly string _file;
    private readonly Regex _regex;

    /// <summary>Compiles a pattern.</summary>
    /// <param name="source">In the syntax of Oniguruma, which the reference implementation uses.</param>
    /// <param name="file">The tokenizer's file, for messages.</param>
    /// <exception cref="TokenizerException">It is not valid, or uses what <see cref="OnigurumaSyntax"/> does not translate.</exception>
    public ScalarPattern(string source, string file)
    {
        _source = source;
        _file = file;
        try
        {
            _regex = new Regex(OnigurumaSyntax.Translate(source), RegexOptions.CultureInvariant, s_timeout);
        }
        catch (Exception exception) when (exception is ArgumentException or NotSupportedException)
        {
            throw TokenizerException.Unsupported(file, "pattern", $"{source}' ({exception.Message.TrimEnd('.')}) '");
        }
    }

    /// <summary>Appends all matches, leftmost first, as a search that goes on behind each finds them.</summary>
    /// <exception cref="TokenizerException">The pattern takes exponential time on this text.</exception>
    public void FindAll(ReadOnlySpan<char> text, List<TextPiece> matches)
    {
        try
        {
            if (!text.ContainsAnyInRange('\uD800', '\uDFFF'))
            {
                foreach (ValueMatch match in _regex.EnumerateMatches(text))
                {
                    matches.Add(new TextPiece(match.Index, match.Length));
                }

                return;
            }

            char[] mapped = new char[text.Length];
            int[] starts = new int[text.Length + 1];
            int count = 0;
            for (int i = 0; i < text.Length;)
            {
                // Half of a surrogate pair decodes to U+FFFD, which is what its UTF-8 will be.
                _ = Rune.DecodeFromUtf16(text[i..], out Rune rune, out int length);
                starts[count] = i;
                mapped[count++] = rune.IsBmp ? (char)rune.Value : s_representatives[Rune.GetUnicodeCategory(rune)];
                i += length;
            }

            starts[count] = text.Length;
            foreach (ValueMatch match in _regex.EnumerateMatches(mapped.AsSpan(0, count)))
            {
                int start = starts[match.Index];
                matches.Add(new TextPiece(start, starts[match.Index + match.Length] - start));
            }
        }
        catch (RegexMatchTimeoutException)
        {
            throw new TokenizerException(
                $"{_file}: the pattern {TokenizerException.Quote(_source)} takes too long on this text. Use another tokenizer, or shorter texts.");
        }
    }

    /// <summary>Replaces all matches.</summary>
    /// <exception cref="TokenizerException">The pattern takes exponential time on this text.</exception>
    public string ReplaceAll(string text, string content)
    {
        List<TextPiece> matches = [];
        FindAll(text, matches);
        StringBuilder result = new(text.Length);
        int end = 0;
        foreach (TextPiece match in matches)
        {
            result.Append(text, end, match.Start - end).Append(content);
            end = match.Start + match.Length;
        }

        return result.Append(text, end, text.Length - end).ToString();
    }

    /// <summary>
    /// For each category the first character from U+10A0 on: of scripts that no pattern names character by character. No character
    /// beyond the plane is a control or a surrogate.
    /// </summary>
    private static FrozenDictionary<UnicodeCategory, char> Representatives()
    {
        Dictionary<UnicodeCategory, char> representatives = [];
        for (char character = '\u10A0'; character < '\uFFFF'; character++)
        {
            representatives.TryAdd(CharUnicodeInfo.GetUnicodeCategory(character), character);
        }

        return representatives.ToFrozenDictionary();
    }
}
