using KernelGen.Cli.Errors;
using KernelGen.Kernels.Specs;

namespace KernelGen.Cli.Models;

/// <summary>The kernel classes that the tool comes with.</summary>
internal static class KernelSpecs
{
    public static IReadOnlyList<Int8KernelSet> All { get; } =
    [
        LlmInt8.Kernels,
        LlmInt8Elements.Kernels,
        LlmInt8Fixed.Kernels,
        Absmax.Kernels,
        AbsmaxRow.Kernels,
        AbsmaxVector.Kernels,
        ZeroPointVector.Kernels,
    ];

    /// <summary>Their names, for help texts and messages.</summary>
    public static string Names { get; } = string.Join(", ", All.Select(ShortName));

    /// <summary>The class's name without its namespace.</summary>
    public static string ShortName(Int8KernelSet set) => set.Name[(set.Name.LastIndexOf('.') + 1)..];

    /// <summary>A class by its name, with or without the namespace.</summary>
    /// <exception cref="BadInputException">There is none.</exception>
    public static Int8KernelSet Find(string name) =>
        All.FirstOrDefault(set => name.Equals(set.Name, StringComparison.OrdinalIgnoreCase) || name.Equals(ShortName(set), StringComparison.OrdinalIgnoreCase))
        ?? throw new BadInputException($"--spec: there is no spec '{name}'. Use one of {Names}.");
}
