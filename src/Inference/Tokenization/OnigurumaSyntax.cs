using System.Buffers;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>
/// Translates regular expressions from Oniguruma's syntax to .NET's: what means the same in both is copied, sets within sets are
/// flattened, and whatever might mean something else is refused.
/// </summary>
internal static class OnigurumaSyntax
{
    private const int LongestPattern = 8192;

    private static readonly SearchValues<string> s_groups = SearchValues.Create(["?:", "?i:", "?=", "?!", "?<=", "?<!", "?>"], StringComparison.Ordinal);

    private static readonly string[] s_categories =
    [
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Cn", "Co",
    ];

    /// <summary>Translates a pattern.</summary>
    /// <exception cref="NotSupportedException">It has something that is not translated; the message says what and where.</exception>
    public static string Translate(string pattern)
    {
        if (pattern.Length is 0 or > LongestPattern)
        {
            throw new NotSupportedException($"a pattern has 1 to {LongestPattern} characters");
        }

        StringBuilder result = new(pattern.Length + 16);
        for (int i = 0; i < pattern.Length;)
        {
            char character = pattern[i];
            if (char.IsSurrogate(character) || character is '^' or '$')
            {
                throw Refuse(pattern, i, character is '^' or '$' ? "an anchor" : "a character beyond the Basic Multilingual Plane");
            }

            switch (character)
            {
                case '\\':
                    i = Escape(pattern, i, result);
                    break;
                case '[':
                    i = Set(pattern, i, result, isNested: false);
                    break;
                case '{':
                    i = Repetition(pattern, i, result);
                    break;
                case '(':
                    result.Append('(');
                    i++;
                    if (i < pattern.Length && pattern[i] == '?')
                    {
                        int end = pattern.AsSpan(i).IndexOfAny(":=!>") + 1;
                        string kind = pattern.Substring(i, Math.Max(0, end));
                        if (!s_groups.Contains(kind))
                        {
                            throw Refuse(pattern, i, "a group of this kind");
                        }

                        result.Append(kind);
                        i += kind.Length;
                    }
                    else
                    {
                        // Nothing asks for what a group matched.
                        result.Append("?:");
                    }

                    break;
                default:
                    result.Append(character);
                    i++;
                    break;
            }
        }

        return result.ToString();
    }

    /// <summary>Copies an escape from its backslash on; returns the index behind it.</summary>
    private static int Escape(string pattern, int start, StringBuilder result)
    {
        char kind = start + 1 < pattern.Length ? pattern[start + 1] : throw Refuse(pattern, start, "a lone backslash");
        if (kind is 'p' or 'P')
        {
            int end = pattern.IndexOf('}', start);
            string name = start + 3 < end && pattern[start + 2] == '{' ? pattern[(start + 3)..end] : "";
            if (!s_categories.Contains(name))
            {
                throw Refuse(pattern, start, "a property that is no general category");
            }

            result.Append(pattern, start, end + 1 - start);
            return end + 1;
        }

        if (!(kind is 's' or 'S' or 'd' or 'D' or 'r' or 'n' or 't' || (char.IsAscii(kind) && char.IsPunctuation(kind)) || (char.IsAscii(kind) && char.IsSymbol(kind))))
        {
            throw Refuse(pattern, start, "an escape of this kind");
        }

        result.Append('\\').Append(kind);
        return start + 2;
    }

    /// <summary>Copies a set from its bracket on; a set within it adds its members. Returns the index behind it.</summary>
    private static int Set(string pattern, int start, StringBuilder result, bool isNested)
    {
        int i = start + 1;
        bool negated = i < pattern.Length && pattern[i] == '^';
        if (negated && isNested)
        {
            throw Refuse(pattern, start, "a negated set within a set");
        }

        result.Append(isNested ? "" : negated ? "[^" : "[");
        i += negated ? 1 : 0;
        int first = i;
        while (i < pattern.Length && pattern[i] != ']')
        {
            char character = pattern[i];
            if (char.IsSurrogate(character) || (character == '&' && i + 1 < pattern.Length && pattern[i + 1] == '&'))
            {
                throw Refuse(pattern, i, character == '&' ? "an intersection of sets" : "a character beyond the Basic Multilingual Plane");
            }

            switch (character)
            {
                case '\\':
                    i = Escape(pattern, i, result);
                    break;
                case '[' when i + 1 < pattern.Length && pattern[i + 1] == ':':
                    throw Refuse(pattern, i, "a POSIX class");
                case '[' when pattern[i - 1] == '-':
                    throw Refuse(pattern, i, "a set as the end of a range");
                case '[':
                    i = Set(pattern, i, result, isNested: true);
                    if (i < pattern.Length && pattern[i] == '-')
                    {
                        throw Refuse(pattern, i, "a set as the start of a range");
                    }

                    break;
                default:
                    result.Append(character);
                    i++;
                    break;
            }
        }

        if (i == pattern.Length || i == first)
        {
            throw Refuse(pattern, start, "a set that is empty or not closed");
        }

        result.Append(isNested ? "" : "]");
        return i + 1;
    }

    /// <summary>Copies <c>{n}</c>, <c>{n,}</c> or <c>{n,m}</c>.</summary>
    private static int Repetition(string pattern, int start, StringBuilder result)
    {
        int end = pattern.IndexOf('}', start);
        string[] bounds = end < 0 ? [] : pattern[(start + 1)..end].Split(',');
        bool valid = bounds.Length is 1 or 2 && IsNumber(bounds[0]) && (bounds.Length == 1 || bounds[1].Length == 0 || IsNumber(bounds[1]));
        if (!valid)
        {
            throw Refuse(pattern, start, "a brace that is no repetition");
        }

        result.Append(pattern, start, end + 1 - start);
        return end + 1;

        static bool IsNumber(string text) => text.Length is >= 1 and <= 4 && text.All(char.IsAsciiDigit);
    }

    private static NotSupportedException Refuse(string pattern, int at, string what) =>
        new($"{what} at character {at + 1} of {pattern.Length}");
}
