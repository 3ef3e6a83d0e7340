using KernelGen.Generator.Emit;
using KernelGen.Generator.Emit.Cpu;
using KernelGen.Generator.Emit.Cuda;
using KernelGen.Generator.Emit.Cuda.Decoder;
using KernelGen.Generator.Emit.Ilgpu;
using KernelGen.Generator.Models;
using KernelGen.Generator.Parsing;
using KernelGen.Generator.Planning;
using KernelGen.Generator.Planning.Ilgpu;
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
    internal const string SpecStep = "Spec", PlanStep = "Plan", IlgpuStep = "Ilgpu", DecoderSpecStep = "DecoderSpec";

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

        IncrementalValueProvider<bool> ilgpu = context.MetadataReferencesProvider
            .Select(static (reference, _) => IlgpuReference.Is(reference))
            .Where(static isIlgpu => isIlgpu)
            .Collect()
            .Select(static (found, _) => found.Length > 0)
            .WithTrackingName(IlgpuStep);

        IncrementalValuesProvider<(KernelSpec Spec, CpuPlan Cpu, EquatableArray<IlgpuKernelPlan> Ilgpu)> plans = specs
            .Combine(ilgpu)
            .Select(static (input, _) => (input.Left, CpuPlanner.Plan(input.Left), IlgpuPlanner.Plan(input.Left, input.Right)))
            .WithTrackingName(PlanStep);

        // Nearly always empty, and so unchanged whatever is edited.
        IncrementalValueProvider<EquatableArray<string>> ambiguousNames = specs
            .Collect()
            .Select(static (all, _) => GeneratedFile.AmbiguousNames(all.Select(spec => spec.Type)));

        context.RegisterSourceOutput(plans.Combine(ambiguousNames), static (output, input) =>
        {
            ((KernelSpec spec, CpuPlan cpu, EquatableArray<IlgpuKernelPlan> ilgpu), EquatableArray<string> ambiguous) = input;
            string cpuText = CpuEmitter.Emit(spec, cpu);
            output.AddSource(GeneratedFile.HintName(spec.Type, ManifestEmitter.Part, ambiguous), ManifestEmitter.Emit(spec, cpu, cpuText, ilgpu.Count > 0));
            output.AddSource(GeneratedFile.HintName(spec.Type, CpuEmitter.Part, ambiguous), cpuText);
            if (CudaEmitter.AppliesTo(spec))
            {
                output.AddSource(GeneratedFile.HintName(spec.Type, CudaEmitter.Part, ambiguous), CudaEmitter.Emit(spec));
            }

            if (ilgpu.Count > 0)
            {
                output.AddSource(GeneratedFile.HintName(spec.Type, IlgpuEmitter.Part, ambiguous), IlgpuEmitter.Emit(spec, ilgpu));
            }
        });
        RegisterDecoder(context);
    }

    private static void RegisterDecoder(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<DecoderSpec> specs = context.SyntaxProvider
            .ForAttributeWithMetadataName(
                DecoderSpecParser.AttributeName,
                static (node, _) => node is TypeDeclarationSyntax,
                static (attributed, _) => DecoderSpecParser.Parse(attributed))
            .Where(static spec => spec is not null)
            .Select(static (spec, _) => spec!)
            .WithTrackingName(DecoderSpecStep);
        IncrementalValueProvider<EquatableArray<string>> ambiguousNames = specs
            .Collect()
            .Select(static (all, _) => GeneratedFile.AmbiguousNames(all.Select(spec => spec.Type)));
        context.RegisterSourceOutput(specs.Combine(ambiguousNames), static (output, input) =>
            output.AddSource(GeneratedFile.HintName(input.Left.Type, DecoderEmitter.Part, input.Right), DecoderEmitter.Emit(input.Left)));
    }
}
