using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace KernelGen.Cli.Options;

/// <summary>Makes options whose errors name the option, the value and what would be right.</summary>
internal static class OptionFactory
{
    /// <summary>A whole number of at least <paramref name="least"/>; null where it is not given.</summary>
    public static Option<int?> WholeNumber(string name, string helpName, string description, int least) => new(name)
    {
        Description = description,
        HelpName = helpName,
        CustomParser = result => Parse<int>(
            result,
            $"a whole number from {least} to {int.MaxValue}",
            text => int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value) && value >= least ? value : null),
    };

    /// <summary>A finite number that fits a condition; null where it is not given.</summary>
    public static Option<float?> Number(string name, string helpName, string description, string expected, Func<float, bool> fits) => new(name)
    {
        Description = description,
        HelpName = helpName,
        CustomParser = result => Parse<float>(
            result,
            expected,
            text => float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float value) && float.IsFinite(value) && fits(value)
                ? value
                : null),
    };

    /// <summary>A size in bytes, with or without a unit; null where it is not given.</summary>
    public static Option<long?> Size(string name, string helpName, string description) => new(name)
    {
        Description = description,
        HelpName = helpName,
        CustomParser = result => Parse<long>(result, "a size such as 500MB, 2GB or 1GiB", ParseSize),
    };

    /// <summary>A text.</summary>
    public static Option<string?> Text(string name, string helpName, string description, bool required = false) => new(name)
    {
        Description = description,
        HelpName = helpName,
        Required = required,
    };

    /// <summary>A switch.</summary>
    public static Option<bool> Switch(string name, string description) => new(name) { Description = description };

    private static long? ParseSize(string text)
    {
        // As transformers reads --max_shard_size: powers of ten, of two with an i.
        (string Unit, long Bytes)[] units =
            [("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1)];
        (string unit, long bytes) = Array.Find(units, unit => text.EndsWith(unit.Unit, StringComparison.OrdinalIgnoreCase));
        return decimal.TryParse(text.AsSpan(0, text.Length - unit.Length), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value)
            && value <= long.MaxValue && value * bytes is >= 1 and <= long.MaxValue
                ? (long)(value * bytes)
                : null;
    }

    private static T? Parse<T>(ArgumentResult result, string expected, Func<string, T?> parse)
        where T : struct
    {
        string text = result.Tokens.Count == 1 ? result.Tokens[0].Value : string.Empty;
        T? value = parse(text);
        if (value is null)
        {
            string option = result.Parent is OptionResult parent ? parent.Option.Name : result.Argument.Name;
            result.AddError($"{option}: '{text}' is not {expected}.");
        }

        return value;
    }
}
