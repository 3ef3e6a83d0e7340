using System.Globalization;
using KernelGen.Generator.Diagnostics;
using KernelGen.Generator.Emit.Cuda.Decoder;
using KernelGen.Generator.Models;
using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Parsing;

/// <summary>Reads a class annotated for decoder kernels.</summary>
internal static class DecoderSpecParser
{
    public const string AttributeName = "KernelGen.DecoderKernelsAttribute";

    private const string HeadSizes = "HeadSizes";

    /// <summary>OPT, LLaMA, GPT-NeoX and BLOOM in their published sizes.</summary>
    private static readonly int[] UsualHeadSizes = { 64, 80, 96, 128 };

    private static readonly string[] GeneratedNames = { DecoderEmitter.PropertyName, DecoderEmitter.ContainerName };

    /// <summary>The spec, or null when the class is no valid one.</summary>
    public static DecoderSpec? Parse(GeneratorAttributeSyntaxContext attributed) =>
        AnnotatedType.FirstAttribute(attributed) is { } attribute ? Parse((INamedTypeSymbol)attributed.TargetSymbol, attribute).Spec : null;

    /// <summary>The spec, or null when there is a problem.</summary>
    public static (DecoderSpec? Spec, IReadOnlyList<SpecProblem> Problems) Parse(INamedTypeSymbol type, AttributeData attribute)
    {
        List<SpecProblem> problems = new();
        AnnotatedType.Check(type, GeneratedNames, problems);
        int[] sizes = UsualHeadSizes;
        if (AnnotatedType.Argument(attribute, HeadSizes) is { Kind: TypedConstantKind.Array, IsNull: false } list)
        {
            sizes = list.Values.Select(constant => constant.Value is int value ? value : 0).ToArray();
            if (sizes.Length == 0)
            {
                problems.Add(new SpecProblem(Descriptors.HeadSizeOutOfRange, HeadSizes, "an empty list"));
            }

            foreach (int size in sizes.Where(size => size < DecoderRow.HeadSizeMultiple || size > DecoderRow.LargestHeadSize || size % DecoderRow.HeadSizeMultiple != 0))
            {
                problems.Add(new SpecProblem(Descriptors.HeadSizeOutOfRange, HeadSizes, size.ToString(CultureInfo.InvariantCulture)));
            }
        }

        return problems.Count > 0
            ? (null, problems)
            : (new DecoderSpec(AnnotatedType.Identify(type), new(sizes.Distinct().OrderBy(size => size))), problems);
    }
}
