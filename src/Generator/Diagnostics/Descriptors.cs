using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Diagnostics;

/// <summary>Every rule, with the page that explains it.</summary>
internal static class Descriptors
{
    private const string Category = "KernelGen";

    public static readonly DiagnosticDescriptor NotPartial = Error(
        "KG0001",
        "A kernel class must be partial",
        "'{0}' must be declared partial, so that kernels can be generated into it");

    public static readonly DiagnosticDescriptor TileOutOfRange = Error(
        "KG0002",
        "Tile size out of range",
        "{0} = {1} is not a tile size: use a multiple of {4} from {2} to {3}; the nearest is {5}");

    public static readonly DiagnosticDescriptor InvalidThreshold = Error(
        "KG0003",
        "Outlier threshold out of range",
        "OutlierThreshold = {0} is not a threshold: use a positive, finite number (the paper uses 6), or Outliers = OutlierPolicy.None to have no outliers");

    public static readonly DiagnosticDescriptor TargetWithoutTile = new(
        "KG0004",
        "No tile of the lists fits an instruction set",
        "No tile of '{0}' fits the registers of {1}; its curated tiles are generated instead",
        Category,
        DiagnosticSeverity.Info,
        isEnabledByDefault: true,
        helpLinkUri: HelpLink("KG0004"));

    public static readonly DiagnosticDescriptor UndefinedValue = Error(
        "KG0005",
        "Value is not defined",
        "{0} = {1} is not defined: use one of {2}");

    public static readonly DiagnosticDescriptor MemberExists = Error(
        "KG0006",
        "A generated name is taken",
        "'{0}' uses the name '{1}', which a generated member must have: rename what has it");

    public static readonly DiagnosticDescriptor FileLocal = Error(
        "KG0007",
        "A kernel class cannot be local to a file",
        "'{0}' is local to its file, which generated code cannot extend: remove the file modifier");

    public static readonly DiagnosticDescriptor EmptyTileList = Error(
        "KG0008",
        "Tile list is empty",
        "{0} is an empty list, which leaves no tile to generate: name at least one size, or leave it out for the curated tiles");

    public static readonly DiagnosticDescriptor HeadSizeOutOfRange = Error(
        "KG0009",
        "Width of heads out of range",
        "HeadSizes has {0}: use widths that are multiples of 16 from 16 to 128, or leave the list out for those of the usual models");

    public static readonly DiagnosticDescriptor UnusedThreshold = Warning(
        "KG0010",
        "Outlier threshold has no effect",
        "OutlierThreshold = {0} has no effect: with OutlierPolicy.{1} no activation is compared with it; leave it out, or choose OutlierPolicy.Columns or OutlierPolicy.Elements");

    public static readonly DiagnosticDescriptor UnreachableThreshold = Warning(
        "KG0011",
        "Outlier threshold above all half-precision values",
        "OutlierThreshold = {0} leaves no outliers in half-precision activations, which end at 65504: use a lower one (the paper uses 6), or Outliers = OutlierPolicy.None to have no outliers");

    public static readonly DiagnosticDescriptor MissingFixedColumns = Warning(
        "KG0012",
        "Calibrated outlier columns are missing",
        "'{0}' has OutlierPolicy.Fixed, so Quantize needs calibrated columns and throws without: set WeightQuantizationOptions.FixedOutlierColumns");

    public static readonly DiagnosticDescriptor RowTooLong = Warning(
        "KG0013",
        "Input features could overflow the sums",
        "inputFeatures = {0} could overflow the 32-bit sums of '{1}', which take {2} at most, so Quantize throws: set Accumulation = Accumulation.Int64");

    public static readonly DiagnosticDescriptor UsedAfterDispose = Warning(
        "KG0014",
        "Disposed weights are used",
        "'{0}' is disposed before it is used here, which throws ObjectDisposedException: dispose it after its last use");

    private static DiagnosticDescriptor Error(string id, string title, string message) =>
        new(id, title, message, Category, DiagnosticSeverity.Error, isEnabledByDefault: true, helpLinkUri: HelpLink(id));

    private static DiagnosticDescriptor Warning(string id, string title, string message) =>
        new(id, title, message, Category, DiagnosticSeverity.Warning, isEnabledByDefault: true, helpLinkUri: HelpLink(id));

    private static string HelpLink(string id) => $"https://github.com/kernelgen/kernelgen/blob/main/docs/diagnostics/{id}.md";
}
