using System.ComponentModel;
using KernelGen.Backends.Cuda;

namespace KernelGen;

/// <summary>The decoder kernels of a class with <see cref="DecoderKernelsAttribute"/>. Immutable: any thread may use it.</summary>
public sealed class DecoderKernelSet
{
    /// <summary>Called by generated code.</summary>
    [EditorBrowsable(EditorBrowsableState.Never)]
    public DecoderKernelSet(string name, int[] headSizes, CudaKernelVariant[] variants)
    {
        Name = name;
        HeadSizes = headSizes;
        Variants = variants;
    }

    /// <summary>The annotated class.</summary>
    public string Name { get; }

    /// <summary>The widths of heads that there are attention kernels for.</summary>
    public IReadOnlyList<int> HeadSizes { get; }

    /// <summary>Every kernel.</summary>
    public IReadOnlyList<CudaKernelVariant> Variants { get; }
}
