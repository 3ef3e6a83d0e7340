using System.Collections.Immutable;
using System.Globalization;
using KernelGen.Generator.Parsing;
using KernelGen.Generator.Planning;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;

namespace KernelGen.Generator.Diagnostics;

/// <summary>Reports what is wrong with an annotated class, at the argument that is wrong.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class Int8KernelAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = ImmutableArray.Create(
        Descriptors.NotPartial,
        Descriptors.TileOutOfRange,
        Descriptors.InvalidThreshold,
        Descriptors.TargetWithoutTile,
        Descriptors.UndefinedValue,
        Descriptors.MemberExists,
        Descriptors.FileLocal,
        Descriptors.EmptyTileList,
        Descriptors.HeadSizeOutOfRange,
        Descriptors.UnusedThreshold,
        Descriptors.UnreachableThreshold);

    /// <summary>The properties of a KG0002 report: the value that is no tile size, and the nearest one that is.</summary>
    internal const string ValueProperty = "Value", NearestProperty = "Nearest";

    /// <summary>The largest finite half-precision value.</summary>
    private const float LargestHalf = 65504;

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.EnableConcurrentExecution();

        // A member named Kernels in generated code is ours.
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.RegisterCompilationStartAction(static start =>
        {
            if (start.Compilation.GetTypeByMetadataName(SpecParser.AttributeName) is { } attributeType)
            {
                start.RegisterSymbolAction(symbol => Analyze(symbol, attributeType), SymbolKind.NamedType);
            }

            if (start.Compilation.GetTypeByMetadataName(DecoderSpecParser.AttributeName) is { } decoderType)
            {
                start.RegisterSymbolAction(symbol => AnalyzeDecoder(symbol, decoderType), SymbolKind.NamedType);
            }
        });
    }

    private static void Analyze(SymbolAnalysisContext context, INamedTypeSymbol attributeType)
    {
        INamedTypeSymbol type = (INamedTypeSymbol)context.Symbol;
        if (AttributeOf(type, attributeType) is not { } attribute)
        {
            return;
        }

        (Models.KernelSpec? spec, IReadOnlyList<SpecProblem> problems) = SpecParser.Parse(type, attribute);
        Report(context, type, attribute, problems);

        if (spec is not null)
        {
            Location place = LocateName(type, attribute, context.CancellationToken);
            foreach (string instructionSet in CpuPlanner.Plan(spec).FallenBack)
            {
                context.ReportDiagnostic(Diagnostic.Create(
                    Descriptors.TargetWithoutTile, place, type.Name, instructionSet));
            }

            if (ThresholdAdvice(spec.Numbers, attribute) is { } advice)
            {
                context.ReportDiagnostic(Diagnostic.Create(advice.Descriptor, Locate(type, attribute, advice, context.CancellationToken), advice.MessageArguments));
            }
        }
    }

    /// <summary>What to say of a threshold that was given, or null.</summary>
    private static SpecProblem? ThresholdAdvice(Int8Spec numbers, AttributeData attribute)
    {
        const string Argument = "OutlierThreshold";
        if (!attribute.NamedArguments.Any(argument => argument.Key == Argument))
        {
            return null;
        }

        string value = numbers.OutlierThreshold.ToString(CultureInfo.InvariantCulture);
        return numbers.Outliers is OutlierPolicy.None or OutlierPolicy.Fixed ? new SpecProblem(Descriptors.UnusedThreshold, Argument, value, numbers.Outliers)
            : numbers.OutlierThreshold > LargestHalf ? new SpecProblem(Descriptors.UnreachableThreshold, Argument, value)
            : null;
    }

    private static ImmutableDictionary<string, string?> Properties(SpecProblem problem) => problem.Descriptor.Id == Descriptors.TileOutOfRange.Id
        ? ImmutableDictionary<string, string?>.Empty
            .Add(ValueProperty, problem.MessageArguments[1].ToString())
            .Add(NearestProperty, problem.MessageArguments[5].ToString())
        : ImmutableDictionary<string, string?>.Empty;

    private static void AnalyzeDecoder(SymbolAnalysisContext context, INamedTypeSymbol attributeType)
    {
        INamedTypeSymbol type = (INamedTypeSymbol)context.Symbol;
        if (AttributeOf(type, attributeType) is { } attribute)
        {
            Report(context, type, attribute, DecoderSpecParser.Parse(type, attribute).Problems);
        }
    }

    private static AttributeData? AttributeOf(INamedTypeSymbol type, INamedTypeSymbol attributeType) => type.GetAttributes()
        .FirstOrDefault(candidate => SymbolEqualityComparer.Default.Equals(candidate.AttributeClass, attributeType));

    private static void Report(SymbolAnalysisContext context, INamedTypeSymbol type, AttributeData attribute, IReadOnlyList<SpecProblem> problems)
    {
        foreach (SpecProblem problem in problems)
        {
            context.ReportDiagnostic(Diagnostic.Create(
                problem.Descriptor, Locate(type, attribute, problem, context.CancellationToken), Properties(problem), problem.MessageArguments));
        }
    }

    private static Location Locate(INamedTypeSymbol type, AttributeData attribute, SpecProblem problem, CancellationToken cancellationToken)
    {
        if (problem.Argument is not null
            && attribute.ApplicationSyntaxReference?.GetSyntax(cancellationToken) is AttributeSyntax { ArgumentList.Arguments: var arguments }
            && arguments.FirstOrDefault(candidate => candidate.NameEquals?.Name.Identifier.ValueText == problem.Argument) is { } syntax)
        {
            return syntax.Expression.GetLocation();
        }

        return problem.Symbol is null || SymbolEqualityComparer.Default.Equals(problem.Symbol, type)
            ? LocateName(type, attribute, cancellationToken)
            : problem.Symbol.Locations.FirstOrDefault() ?? Location.None;
    }

    /// <summary>The class's name in the declaration that carries the attribute: a partial class has several.</summary>
    private static Location LocateName(INamedTypeSymbol type, AttributeData attribute, CancellationToken cancellationToken) =>
        attribute.ApplicationSyntaxReference?.GetSyntax(cancellationToken).FirstAncestorOrSelf<TypeDeclarationSyntax>()?.Identifier.GetLocation()
            ?? type.Locations.FirstOrDefault()
            ?? Location.None;
}
