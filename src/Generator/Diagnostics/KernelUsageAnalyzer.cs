using System.Collections.Immutable;
using System.Globalization;
using KernelGen.Generator.Emit;
using KernelGen.Generator.Parsing;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace KernelGen.Generator.Diagnostics;

/// <summary>Reports calls of a class's kernels that can only throw, where the code alone shows it.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class KernelUsageAnalyzer : DiagnosticAnalyzer
{
    private const string KernelSetName = "KernelGen.Int8KernelSet", WeightsName = "KernelGen.Int8Weights", FixedColumns = "FixedOutlierColumns";

    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = ImmutableArray.Create(
        Descriptors.MissingFixedColumns,
        Descriptors.RowTooLong,
        Descriptors.UsedAfterDispose);

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.EnableConcurrentExecution();
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.RegisterCompilationStartAction(static start =>
        {
            if (start.Compilation.GetTypeByMetadataName(SpecParser.AttributeName) is { } attribute
                && start.Compilation.GetTypeByMetadataName(KernelSetName) is { } kernelSet
                && start.Compilation.GetTypeByMetadataName(WeightsName) is { } weights)
            {
                start.RegisterOperationAction(operation => AnalyzeQuantize(operation, attribute, kernelSet), OperationKind.Invocation);
                start.RegisterOperationAction(operation => AnalyzeDispose(operation, weights), OperationKind.Invocation);
                start.RegisterOperationAction(operation => AnalyzeReturn(operation, weights), OperationKind.Return);
            }
        });
    }

    /// <summary><c>Class.Kernels.Quantize(...)</c>: what the class's spec demands of the arguments.</summary>
    private static void AnalyzeQuantize(OperationAnalysisContext context, INamedTypeSymbol attributeType, INamedTypeSymbol kernelSet)
    {
        IInvocationOperation call = (IInvocationOperation)context.Operation;
        if (call.TargetMethod.Name != "Quantize"
            || !SymbolEqualityComparer.Default.Equals(call.TargetMethod.ContainingType, kernelSet)
            || call.Instance is not IPropertyReferenceOperation { Property: { Name: ManifestEmitter.PropertyName } property }
            || property.ContainingType.GetAttributes().FirstOrDefault(candidate => SymbolEqualityComparer.Default.Equals(candidate.AttributeClass, attributeType)) is not { } attribute
            || SpecParser.Parse(property.ContainingType, attribute).Spec is not { } spec)
        {
            return;
        }

        string name = property.ContainingType.Name;
        if (spec.Numbers.Outliers == OutlierPolicy.Fixed && Argument(call, "options") is { } options && LacksFixedColumns(options) && !ReadsQuantized(call))
        {
            context.ReportDiagnostic(Diagnostic.Create(Descriptors.MissingFixedColumns, call.Syntax.GetLocation(), name));
        }

        int limit = spec.Numbers.Accumulation == Accumulation.Int64 ? int.MaxValue : KernelLimits.MaxK(spec.Numbers.Activations);
        if (Argument(call, "inputFeatures") is { ConstantValue: { HasValue: true, Value: int k } } length && k > limit)
        {
            context.ReportDiagnostic(Diagnostic.Create(
                Descriptors.RowTooLong, length.Syntax.GetLocation(), k.ToString(CultureInfo.InvariantCulture), name, limit.ToString(CultureInfo.InvariantCulture)));
        }
    }

    /// <summary>Whether the options are none, or made right here without the columns.</summary>
    private static bool LacksFixedColumns(IOperation options)
    {
        while (options is IConversionOperation conversion)
        {
            options = conversion.Operand;
        }

        return options switch
        {
            IDefaultValueOperation => true,
            ILiteralOperation { ConstantValue: { HasValue: true, Value: null } } => true,
            IObjectCreationOperation creation => creation.Initializer is null || !creation.Initializer.Initializers.Any(SetsFixedColumns),
            _ => false,
        };
    }

    private static bool SetsFixedColumns(IOperation initializer) =>
        initializer is ISimpleAssignmentOperation { Target: IPropertyReferenceOperation { Property.Name: FixedColumns } };

    /// <summary>A source of weights may bring its columns itself.</summary>
    private static bool ReadsQuantized(IInvocationOperation call) => call.TargetMethod.Parameters.Any(parameter => parameter.Name == "source");

    private static IOperation? Argument(IInvocationOperation call, string parameter) =>
        call.Arguments.FirstOrDefault(argument => argument.Parameter?.Name == parameter)?.Value;

    /// <summary><c>weights.Dispose();</c> as a statement, and later in the same block a use of the same variable with nothing assigned to it between.</summary>
    private static void AnalyzeDispose(OperationAnalysisContext context, INamedTypeSymbol weights)
    {
        IInvocationOperation call = (IInvocationOperation)context.Operation;
        if (call.TargetMethod.Name != nameof(IDisposable.Dispose)
            || call.Instance is not ILocalReferenceOperation { Local: var local }
            || !SymbolEqualityComparer.Default.Equals(local.Type, weights)
            || call.Parent is not IExpressionStatementOperation { Parent: IBlockOperation block } statement)
        {
            return;
        }

        foreach (IOperation later in block.Operations.SkipWhile(operation => operation != statement).Skip(1))
        {
            foreach (ILocalReferenceOperation use in later.DescendantsAndSelf().OfType<ILocalReferenceOperation>().Where(use => SymbolEqualityComparer.Default.Equals(use.Local, local)))
            {
                // A second Dispose is allowed, and is looked at for itself.
                if ((use.Parent is IAssignmentOperation assignment && assignment.Target == use)
                    || use.Parent is IInvocationOperation { TargetMethod.Name: nameof(IDisposable.Dispose) })
                {
                    return;
                }

                context.ReportDiagnostic(Diagnostic.Create(Descriptors.UsedAfterDispose, use.Syntax.GetLocation(), local.Name));
                return;
            }

            if (later is ILabeledOperation)
            {
                return;
            }
        }
    }

    /// <summary><c>return weights;</c> of a variable that a <c>using</c> disposes when the method returns.</summary>
    private static void AnalyzeReturn(OperationAnalysisContext context, INamedTypeSymbol weights)
    {
        if (((IReturnOperation)context.Operation).ReturnedValue is ILocalReferenceOperation { Local: { IsUsing: true } local } returned
            && SymbolEqualityComparer.Default.Equals(local.Type, weights))
        {
            context.ReportDiagnostic(Diagnostic.Create(Descriptors.UsedAfterDispose, returned.Syntax.GetLocation(), local.Name));
        }
    }
}
