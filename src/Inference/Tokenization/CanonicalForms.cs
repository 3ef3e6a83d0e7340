using System.Globalization;
using System.Text;

namespace KernelGen.Inference.Tokenization;

/// <summary>
/// Unicode's canonical normalization forms C and D (Unicode Standard Annex 15), from a table of their own: the runtime leaves text as it
/// is where globalization is invariant, and a tokenizer must give the same ids everywhere.
/// </summary>
internal static class CanonicalForms
{
    private const string Resource = "canonical-decompositions.txt";

    // Hangul syllables are computed (section 3.12 of the standard).
    private const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int Leads = 19, Vowels = 21, Tails = 28, Syllables = Leads * Vowels * Tails;

    private static readonly Lazy<Tables> s_tables = new(ReadTables);

    /// <summary>Characters with their marks taken apart, marks in canonical order.</summary>
    public static string Decompose(string text) => Ascii.IsValid(text) ? text : Write(Decomposed(text));

    /// <summary>The same, and put together where Unicode has one character for it.</summary>
    public static string Compose(string text) => Ascii.IsValid(text) ? text : Write(Composed(Decomposed(text)));

    private static List<int> Decomposed(string text)
    {
        Tables tables = s_tables.Value;
        List<int> result = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            Append(rune.Value, result, tables);
        }

        // Marks behind a character, by ascending class; equals stay in their order.
        for (int start = 0; start < result.Count; start++)
        {
            int end = start;
            while (end < result.Count && tables.ClassOf(result[end]) != 0)
            {
                end++;
            }

            if (end - start > 1)
            {
                int[] marks = [.. result.GetRange(start, end - start).OrderBy(tables.ClassOf)];
                for (int i = 0; i < marks.Length; i++)
                {
                    result[start + i] = marks[i];
                }
            }

            start = end;
        }

        return result;
    }

    private static void Append(int character, List<int> result, Tables tables)
    {
        int syllable = character - SyllableBase;
        if (syllable is >= 0 and < Syllables)
        {
            result.Add(LeadBase + (syllable / (Vowels * Tails)));
            result.Add(VowelBase + (syllable / Tails % Vowels));
            if (syllable % Tails != 0)
            {
                result.Add(TailBase + (syllable % Tails));
            }
        }
        else if (tables.Parts.TryGetValue(character, out int[]? parts))
        {
            foreach (int part in parts)
            {
                Append(part, result, tables);
            }
        }
        else
        {
            result.Add(character);
        }
    }

    private static List<int> Composed(List<int> decomposed)
    {
        Tables tables = s_tables.Value;
        List<int> result = new(decomposed.Count);
        int starter = -1;
        int lastClass = 0;
        foreach (int character in decomposed)
        {
            int combiningClass = tables.ClassOf(character);

            // A mark is blocked by one of its own class or higher before it; a starter by anything between it and the last one.
            bool blocked = starter >= 0 && result.Count - 1 > starter && lastClass >= combiningClass;
            if (starter >= 0 && !blocked && TryCompose(result[starter], character, tables, out int composed))
            {
                result[starter] = composed;
                continue;
            }

            if (combiningClass == 0)
            {
                starter = result.Count;
            }

            lastClass = combiningClass;
            result.Add(character);
        }

        return result;
    }

    private static bool TryCompose(int first, int second, Tables tables, out int composed)
    {
        (int lead, int vowel, int tail, int syllable) = (first - LeadBase, second - VowelBase, second - TailBase, first - SyllableBase);
        if (lead is >= 0 and < Leads && vowel is >= 0 and < Vowels)
        {
            composed = SyllableBase + (((lead * Vowels) + vowel) * Tails);
            return true;
        }

        if (syllable is >= 0 and < Syllables && syllable % Tails == 0 && tail is > 0 and < Tails)
        {
            composed = first + tail;
            return true;
        }

        return tables.Composed.TryGetValue((first, second), out composed);
    }

    private static string Write(List<int> characters)
    {
        StringBuilder text = new(characters.Count);
        foreach (int character in characters)
        {
            text.Append(new Rune(character));
        }

        return text.ToString();
    }

    private static Tables ReadTables()
    {
        Tables tables = new([], [], []);
        using Stream stream = typeof(CanonicalForms).Assembly.GetManifestResourceStream(Resource)!;
        using StreamReader reader = new(stream);
        while (reader.ReadLine() is string line)
        {
            if (line.Length == 0 || line[0] == '#')
            {
                continue;
            }

            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon >= 0)
            {
                byte combiningClass = byte.Parse(line.AsSpan(0, colon), NumberStyles.None, CultureInfo.InvariantCulture);
                foreach (string range in line[(colon + 1)..].Split(' '))
                {
                    int[] ends = [.. range.Split('-').Select(Hexadecimal)];
                    for (int character = ends[0]; character <= ends[^1]; character++)
                    {
                        tables.Classes.Add(character, combiningClass);
                    }
                }

                continue;
            }

            foreach (string entry in line.Split(';'))
            {
                int sign = entry.AsSpan().IndexOfAny('=', '<');
                int character = Hexadecimal(entry[..sign]);
                int[] parts = [.. entry[(sign + 1)..].Split(' ').Select(Hexadecimal)];
                tables.Parts.Add(character, parts);
                if (entry[sign] == '=')
                {
                    tables.Composed.Add((parts[0], parts[1]), character);
                }
            }
        }

        return tables;
    }

    private static int Hexadecimal(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    private sealed record Tables(Dictionary<int, int[]> Parts, Dictionary<(int First, int Second), int> Composed, Dictionary<int, byte> Classes)
    {
        public int ClassOf(int character) => Classes.GetValueOrDefault(character);
    }
}
