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

    /// <summary>A text.</summary>
    public static Option<string?> Text(string name, string helpName, string description, bool required = false) => new(name)
    {
        Description = description,
        HelpName = helpName,
        Required = required,
    };

    /// <summary>A switch.</summary>
    public static Option<bool> Switch(string name, string description) => new(name) { Description = description };

    /// <summary>Whether the user gave the option.</summary>
    public static bool IsGiven(this ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

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
