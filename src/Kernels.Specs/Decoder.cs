namespace KernelGen.Kernels.Specs;

/// <summary>What a decoder does around its linear layers, on a GPU; heads of the usual models and of small ones.</summary>
[DecoderKernels(HeadSizes = [16, 32, 64, 80, 96, 128])]
public static partial class Decoder;
