namespace KernelGen.Generator.Models;

/// <summary>An annotated class as the pipeline knows it: values only, nothing of the compilation.</summary>
/// <param name="Type">The class.</param>
/// <param name="Numbers">What decides the numbers.</param>
/// <param name="Targets">The kinds of device.</param>
/// <param name="CpuTileM">The MR list; empty means the curated tiles.</param>
/// <param name="CpuTileN">The NR list; empty means the curated tiles.</param>
internal sealed record KernelSpec(
    TypeIdentity Type,
    Int8Spec Numbers,
    KernelTargets Targets,
    EquatableArray<int> CpuTileM,
    EquatableArray<int> CpuTileN);

/// <summary>What it takes to declare another part of a type.</summary>
/// <param name="Namespace">The namespace, or empty.</param>
/// <param name="Declarations">From the outermost type inwards: keywords, name and type parameters, e.g. <c>partial class Outer&lt;T&gt;</c>.</param>
/// <param name="MetadataName">Namespace, nesting and arity, unique in the compilation, e.g. <c>My.Outer`1+Inner</c>.</param>
/// <param name="DisplayName">The name as a reader writes it, e.g. <c>My.Outer&lt;T&gt;.Inner</c>.</param>
internal sealed record TypeIdentity(string Namespace, EquatableArray<string> Declarations, string MetadataName, string DisplayName);
