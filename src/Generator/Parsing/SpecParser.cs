using System.Collections.Immutable;
using System.Globalization;
using KernelGen.Generator.Diagnostics;
using KernelGen.Generator.Emit;
using KernelGen.Generator.Emit.Cpu;
using KernelGen.Generator.Emit.Cuda;
using KernelGen.Generator.Models;
using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Parsing;

/// <summary>
/// Reads an annotated class: the only place that sees symbols. The generator takes the spec, the analyzer the problems, so they cannot
/// disagree about what is valid.
/// </summary>
internal static class SpecParser
{
    public const string AttributeName = "KernelGen.Int8KernelAttribute";

    /// <summary>The names that generated members have.</summary>
    private static readonly string[] GeneratedNames = { ManifestEmitter.PropertyName, ManifestEmitter.HolderName, CpuEmitter.ContainerName, CudaEmitter.ContainerName };

    /// <summary>The spec, or null when the class is no valid one. A second attribute on the class is the compiler's error and makes no second spec.</summary>
    public static KernelSpec? Parse(GeneratorAttributeSyntaxContext attributed)
    {
        return AnnotatedType.FirstAttribute(attributed) is { } attribute ? Parse((INamedTypeSymbol)attributed.TargetSymbol, attribute).Spec : null;
    }

    /// <summary>The spec, or null when there is a problem.</summary>
    public static (KernelSpec? Spec, IReadOnlyList<SpecProblem> Problems) Parse(INamedTypeSymbol type, AttributeData attribute)
    {
        List<SpecProblem> problems = new();
        AnnotatedType.Check(type, GeneratedNames, problems);
        Int8Spec defaults = new();
        Int8Spec numbers = new(
            ReadEnum(attribute, "Outliers", defaults.Outliers, problems),
            ReadThreshold(attribute, defaults.OutlierThreshold, problems),
            ReadEnum(attribute, "Granularity", defaults.Granularity, problems),
            ReadEnum(attribute, "Activations", defaults.Activations, problems),
            ReadEnum(attribute, "Accumulation", defaults.Accumulation, problems));
        KernelTargets targets = ReadTargets(attribute, problems);
        EquatableArray<int> heights = ReadTileList(attribute, "CpuTileM", CpuTile.MinM, CpuTile.MaxM, 1, problems);
        EquatableArray<int> widths = ReadTileList(attribute, "CpuTileN", CpuTile.MinN, CpuTile.MaxN, CpuTile.MinN, problems);
        return problems.Count > 0
            ? (null, problems)
            : (new KernelSpec(AnnotatedType.Identify(type), numbers, targets, heights, widths), problems);
    }

    private static T ReadEnum<T>(AttributeData attribute, string name, T defaultValue, List<SpecProblem> problems)
        where T : struct, Enum
    {
        if (AnnotatedType.Argument(attribute, name) is not { Value: int value })
        {
            return defaultValue;
        }

        T result = (T)(object)value;
        if (!Enum.IsDefined(typeof(T), result))
        {
            problems.Add(new SpecProblem(Descriptors.UndefinedValue, name, name, Text(value), string.Join(", ", Enum.GetNames(typeof(T)))));
        }

        return result;
    }

    private static KernelTargets ReadTargets(AttributeData attribute, List<SpecProblem> problems)
    {
        if (AnnotatedType.Argument(attribute, "Targets") is not { Value: int value })
        {
            return KernelTargets.Cpu;
        }

        if (value == 0 || ((KernelTargets)value & ~KernelTargets.All) != 0)
        {
            problems.Add(new SpecProblem(Descriptors.UndefinedValue, "Targets", "Targets", Text(value), string.Join(", ", Enum.GetNames(typeof(KernelTargets)))));
        }

        return (KernelTargets)value;
    }

    private static float ReadThreshold(AttributeData attribute, float defaultValue, List<SpecProblem> problems)
    {
        if (AnnotatedType.Argument(attribute, "OutlierThreshold") is not { Value: float value })
        {
            return defaultValue;
        }

        if (!(value > 0) || float.IsInfinity(value))
        {
            problems.Add(new SpecProblem(Descriptors.InvalidThreshold, "OutlierThreshold", value.ToString(CultureInfo.InvariantCulture)));
        }

        return value;
    }

    private static EquatableArray<int> ReadTileList(
        AttributeData attribute, string name, int smallest, int largest, int multiple, List<SpecProblem> problems)
    {
        if (AnnotatedType.Argument(attribute, name) is not { Kind: TypedConstantKind.Array, IsNull: false } list)
        {
            return default;
        }

        ImmutableArray<TypedConstant> values = list.Values;
        if (values.Length == 0)
        {
            problems.Add(new SpecProblem(Descriptors.EmptyTileList, name, name));
        }

        foreach (TypedConstant constant in values)
        {
            if (constant.Value is int value && (value < smallest || value > largest || value % multiple != 0))
            {
                problems.Add(new SpecProblem(
                    Descriptors.TileOutOfRange, name, name, Text(value), Text(smallest), Text(largest), Text(multiple), Text(Nearest(value, smallest, largest, multiple))));
            }
        }

        return new EquatableArray<int>(values.Select(constant => constant.Value is int value ? value : 0));
    }

    private static int Nearest(int value, int smallest, int largest, int multiple)
    {
        int clamped = Math.Min(Math.Max(value, smallest), largest);
        return Math.Max(smallest, (int)Math.Round(clamped / (double)multiple) * multiple);
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
}
