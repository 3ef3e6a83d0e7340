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
    /// <exception cref="BadInputException">One is none, or too large to be multiplied.</exception>
    public static BenchmarkShape[] Parse(string shapes)
    {
        try
        {
            return [.. shapes.Split(',').Select(BenchmarkShape.Parse).Select(static shape => Check(Name, shape))];
        }
        catch (FormatException exception)
        {
            throw new BadInputException($"{Name}: {exception.Message}", exception);
        }
    }

    /// <summary>Refuses a shape whose matrices fit into no array, or whose sums may overflow.</summary>
    /// <exception cref="BadInputException">It is one.</exception>
    public static BenchmarkShape Check(string option, BenchmarkShape shape)
    {
        const int LongestK = KernelLimits.MaxKSymmetric;
        if (shape.K > LongestK)
        {
            throw new BadInputException(string.Create(
                CultureInfo.InvariantCulture, $"{option}: {shape} has {shape.K} input features; int32 sums hold the products of {LongestK}. Give a smaller K."));
        }

        long values = Math.Max((long)shape.M * shape.N, shape.K * (long)Math.Max(shape.M, shape.N));
        return values <= Array.MaxLength
            ? shape
            : throw new BadInputException(string.Create(
                CultureInfo.InvariantCulture, $"{option}: {shape} has a matrix of {values} values; one of {Array.MaxLength} is the largest. Give smaller sizes."));
    }

    /// <summary>Reads a list of positive whole numbers.</summary>
    /// <exception cref="BadInputException">One is none.</exception>
    public static int[] WholeNumbers(string option, string list) => [.. list.Split(',').Select(text =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value > 0
            ? value
            : throw new BadInputException($"{option}: '{text}' is not a whole number from 1 to {int.MaxValue}."))];
}
