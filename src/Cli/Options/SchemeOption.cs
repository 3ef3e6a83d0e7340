using KernelGen.Cli.Errors;
using KernelGen.Inference.Quantization;

namespace KernelGen.Cli.Options;

/// <summary>Schemes as the command line names them.</summary>
internal static class SchemeOption
{
    public const string Name = "--scheme";

    /// <summary>The schemes' names, for help texts.</summary>
    public static string Names { get; } = 
        $"{string.Join(", ", QuantizationScheme.All.Select(static scheme => scheme.Name))}; on a GPU {string.Join(", ", QuantizationScheme.OnDevices.Select(static scheme => scheme.Name))}";

    /// <summary>Finds one scheme.</summary>
    public static QuantizationScheme Parse(string name) => BadInputException.Check(Name, () => QuantizationScheme.Parse(name));

    /// <summary>Finds the schemes of a list with commas, each once, in its order.</summary>
    public static IReadOnlyList<QuantizationScheme> ParseList(string names) => [.. names.Split(',').Select(static name => Parse(name.Trim())).Distinct()];

    /// <summary>Refuses a threshold that none of the schemes would look at.</summary>
    public static void CheckThreshold(float? threshold, IReadOnlyList<QuantizationScheme> schemes)
    {
        if (threshold is not null && !schemes.Any(static scheme => scheme.UsesOutlierThreshold))
        {
            string users = string.Join(", ", QuantizationScheme.All.Where(static scheme => scheme.UsesOutlierThreshold).Select(static scheme => scheme.Name));
            throw new BadInputException(
                $"--threshold: {string.Join(", ", schemes.Select(static scheme => scheme.Name))} has no outliers, so it changes nothing. Leave it out, or use one of {users}.");
        }
    }
}
