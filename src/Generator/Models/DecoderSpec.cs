namespace KernelGen.Generator.Models;

/// <summary>A class annotated for decoder kernels, as the pipeline knows it.</summary>
/// <param name="Type">The class.</param>
/// <param name="HeadSizes">Widths of heads, ascending, each once.</param>
internal sealed record DecoderSpec(TypeIdentity Type, EquatableArray<int> HeadSizes);
