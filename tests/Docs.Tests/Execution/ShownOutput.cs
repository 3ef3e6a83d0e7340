using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace KernelGen.Docs.Tests.Execution;

/// <summary>
/// Holds what a page shows against what a run printed. A line <c>...</c> stands for any lines, <c>...</c> in a line for any text. Times, rates and
/// JSON's fields of them may be any number, and so may the bytes of packed weights in JSON. A decimal fraction may differ by 0.5 % or three units of
/// its last place, and one in percent by 0.1, since processors sum in different orders; one in a line with MiB by 15 %, since they pack weights
/// differently. All else is as shown, but for the width of gaps.
/// </summary>
internal static partial class ShownOutput
{
    private const double Tolerance = 0.005, ToleranceOfSizes = 0.15, ToleranceOfPercent = 0.1;

    /// <summary>The first difference, in words; null where there is none.</summary>
    public static string? Difference(string shown, string printed)
    {
        string[] expected = Lines(shown), actual = Lines(printed);
        int furthest = 0;
        if (Match(expected, 0, actual, 0, ref furthest))
        {
            return null;
        }

        string at = furthest < expected.Length ? expected[furthest] : "(the end)";
        return $"The page shows, and this line was not found where it stands:\n{at}\nThe whole output:\n{printed}";
    }

    /// <summary>
    /// The same for output that describes the machine at hand: every shown line has one in the output that begins with the same word; of JSON, one
    /// with the same fields.
    /// </summary>
    public static string? DifferenceOfMachine(string shown, string printed)
    {
        HashSet<string> actual = [.. Lines(printed).Select(Kind)];
        string? missing = Lines(shown).FirstOrDefault(line => line != "..." && !actual.Contains(Kind(line)));
        return missing is null ? null : $"The page shows a line whose like was not printed:\n{missing}\nThe whole output:\n{printed}";
    }

    private static bool Match(string[] expected, int i, string[] actual, int j, ref int furthest)
    {
        furthest = Math.Max(furthest, i);
        if (i == expected.Length)
        {
            return j == actual.Length;
        }

        if (expected[i] == "...")
        {
            for (int next = j; next <= actual.Length; next++)
            {
                if (Match(expected, i + 1, actual, next, ref furthest))
                {
                    return true;
                }
            }

            return false;
        }

        return j < actual.Length && LineMatches(expected[i], actual[j]) && Match(expected, i + 1, actual, j + 1, ref furthest);
    }

    private static bool LineMatches(string expected, string actual)
    {
        double relative = expected.Contains(" MiB", StringComparison.Ordinal) ? ToleranceOfSizes : Tolerance;
        List<double> figures = [];
        List<double> tolerances = [];
        string pattern = Token().Replace(expected, token =>
        {
            if (token.Groups["any"].Success)
            {
                return ".*?";
            }

            if (token.Groups["gap"].Success)
            {
                return @"\s+";
            }

            if (token.Groups["time"].Success)
            {
                return token.Groups["before"].Value + NumberPattern + token.Groups["unit"].Value;
            }

            if (token.Groups["fraction"].Success)
            {
                figures.Add(double.Parse(token.Value.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture));
                double lastPlace = Math.Pow(10, -(token.Value.Length - token.Value.IndexOf('.', StringComparison.Ordinal) - 1));
                bool isPercent = expected.AsSpan(token.Index + token.Length).StartsWith(" %", StringComparison.Ordinal);
                tolerances.Add(isPercent ? Math.Max(3.001 * lastPlace, ToleranceOfPercent) : 3.001 * lastPlace);
                return $"({NumberPattern})";
            }

            return Regex.Escape(token.Value);
        });
        Match match = Regex.Match(actual, $"^{pattern}$", RegexOptions.CultureInvariant);
        return match.Success && figures.Index().All(figure =>
            double.TryParse(match.Groups[figure.Index + 1].Value.Replace(",", "", StringComparison.Ordinal), NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
            && Math.Abs(value - figure.Item) <= Math.Max(relative * Math.Abs(figure.Item), tolerances[figure.Index]));
    }

    private static string Kind(string line)
    {
        if (!line.StartsWith('{'))
        {
            return line.Split(' ')[0];
        }

        using JsonDocument json = JsonDocument.Parse(line);
        return string.Join(',', json.RootElement.EnumerateObject().Select(static field => field.Name));
    }

    private static string[] Lines(string text) => [.. text.Trim('\n').Split('\n').Select(static line => line.TrimEnd())];

    private const string NumberPattern = @"[+-]?\d[\d,]*(?:\.\d+)?(?:E[+-]?\d+)?";

    [GeneratedRegex("""
        (?<any>\.\.\.)
        |(?<time>(?<before>"(?:seconds|first_token_seconds|tokens_per_second|us_median|us_min|us_max|model_bytes)":)[\d.]+(?<unit>))
        |(?<time>(?<before>)(?<![\w.])\d[\d,]*(?:\.\d+)?(?<unit>\ (?:s|ms|us|tokens/s|MB/s)\b))
        |(?<fraction>[+-]?(?<![\w.])\d[\d,]*\.\d+(?![\w.]*\.))
        |(?<gap>\s+)
        |\w+|.
        """, RegexOptions.IgnorePatternWhitespace | RegexOptions.CultureInvariant)]
    private static partial Regex Token();
}
