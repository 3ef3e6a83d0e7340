using KernelGen.Generator.Emit;
using KernelGen.Generator.Emit.Cpu;
using KernelGen.Generator.Emit.Cuda;
using KernelGen.Generator.Models;
using KernelGen.Generator.Parsing;
using KernelGen.Generator.Planning;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace KernelGen.Generator;

/// <summary>
/// The pipeline: annotated class -> spec (values only) -> plan -> one file per target. An invalid spec ends at the first arrow; the analyzer
/// tells the user why.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class Int8KernelGenerator : IIncrementalGenerator
{
    /// <summary>Names of the tracked steps.</summary>
    internal const string SpecStep = "Spec", PlanStep = "Plan";

    /// <inheritdoc/>
    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<KernelSpec> specs = context.SyntaxProvider
            .ForAttributeWithMetadataName(
                SpecParser.AttributeName,
                static (node, _) => node is TypeDeclarationSyntax,
                static (attributed, _) => SpecParser.Parse(attributed))
            .Where(static spec => spec is not null)
            .Select(static (spec, _) => spec!)
            .WithTrackingName(SpecStep);

        IncrementalValuesProvider<(KernelSpec Spec, CpuPlan Cpu)> plans = specs
            .Select(static (spec, _) => (spec, CpuPlanner.Plan(spec)))
            .WithTrackingName(PlanStep);

        // Nearly always empty, and so unchanged whatever is edited.
        IncrementalValueProvider<EquatableArray<string>> ambiguousNames = specs
            .Collect()
            .Select(static (all, _) => GeneratedFile.AmbiguousNames(all.Select(spec => spec.Type)));

        context.RegisterSourceOutput(plans.Combine(ambiguousNames), static (output, input) =>
        {
            ((KernelSpec spec, CpuPlan cpu), EquatableArray<string> ambiguous) = input;
            string cpuText = CpuEmitter.Emit(spec, cpu);
            output.AddSource(GeneratedFile.HintName(spec.Type, ManifestEmitter.Part, ambiguous), ManifestEmitter.Emit(spec, cpu, cpuText));
            output.AddSource(GeneratedFile.HintName(spec.Type, CpuEmitter.Part, ambiguous), cpuText);
            if (CudaEmitter.AppliesTo(spec))
            {
                output.AddSource(GeneratedFile.HintName(spec.Type, CudaEmitter.Part, ambiguous), CudaEmitter.Emit(spec));
            }
        });
    }
}
