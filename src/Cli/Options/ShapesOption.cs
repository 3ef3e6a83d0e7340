using System.CommandLine;
using System.Globalization;
using KernelGen.Cli.Errors;
using KernelGen.Inference.Benchmarks;

namespace KernelGen.Cli.Options;

/// <summary>The option that names sizes of multiplications.</summary>
internal static class ShapesOption
{
    public const string Name = "--shapes";

    public static Option<string?> Create(string description) => OptionFactory.Text(Name, "MxKxN[,...]", description);

    /// <summary>Reads a list of shapes.</summary>
    /// <exception cref="BadInputException">One is none.</exception>
    public static BenchmarkShape[] Parse(string shapes)
    {
        try
        {
            return [.. shapes.Split(',').Select(BenchmarkShape.Parse)];
        }
        catch (FormatException exception)
        {
            throw new BadInputException($"{Name}: {exception.Message}", exception);
        }
    }

    /// <summary>Reads a list of positive whole numbers.</summary>
    /// <exception cref="BadInputException">One is none.</exception>
    public static int[] WholeNumbers(string option, string list) => [.. list.Split(',').Select(text =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value > 0
            ? value
            : throw new BadInputException($"{option}: '{text}' is not a whole number from 1 to {int.MaxValue}."))];
}
