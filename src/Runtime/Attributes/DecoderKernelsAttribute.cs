namespace KernelGen;

/// <summary>
/// Generates the CUDA kernels that a decoder-only transformer needs around its int8 multiplications (embedding, norms, rotary positions,
/// attention, gates, 16-bit multiplication, choice of tokens) into the annotated partial class: a static property <c>DecoderKernels</c> of type
/// <see cref="DecoderKernelSet"/>.
/// </summary>
/// <remarks>The class must be partial, and so must the types that it is nested in. The kernels need compute capability 8.0 (sm_80) or later.</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class DecoderKernelsAttribute : Attribute
{
    /// <summary>
    /// The widths of heads that attention kernels are generated for, each a multiple of 16 from 16 to 128. Left out: those of the usual models,
    /// 64, 80, 96 and 128.
    /// </summary>
    public int[]? HeadSizes { get; set; }
}
