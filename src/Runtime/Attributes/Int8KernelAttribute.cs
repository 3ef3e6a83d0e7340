namespace KernelGen;

/// <summary>
/// Generates LLM.int8() matrix multiplication (arXiv 2208.07339), specialized for what the properties say, into the annotated partial
/// class: a static property <c>Kernels</c> of type <see cref="Int8KernelSet"/> that quantizes weights and multiplies.
/// </summary>
/// <remarks>
/// The class must be partial, and so must the types that it is nested in. It may be static, generic, nested, in a namespace or in none.
/// A list of tile sizes spans a search space: every combination that the target allows becomes a variant, and
/// <see cref="Int8KernelSet.Dropped"/> tells why the others did not. Every list is completed with MR = 1, so that a single row never pays for a
/// tall tile; portable scalar code has tiles of its own.
/// </remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class Int8KernelAttribute : Attribute
{
    /// <summary>Which activations are multiplied in 16 bits. The default is the paper's rule, <see cref="OutlierPolicy.Columns"/>.</summary>
    public OutlierPolicy Outliers { get; set; } = OutlierPolicy.Columns;

    /// <summary>The magnitude from which an activation is an outlier; positive. The default is the paper's 6.</summary>
    public float OutlierThreshold { get; set; } = Int8Spec.DefaultOutlierThreshold;

    /// <summary>How many scales the operands have. The default is <see cref="QuantizationGranularity.Vector"/>.</summary>
    public QuantizationGranularity Granularity { get; set; } = QuantizationGranularity.Vector;

    /// <summary>How activations map to int8. The default is <see cref="ActivationQuantization.Symmetric"/>.</summary>
    public ActivationQuantization Activations { get; set; } = ActivationQuantization.Symmetric;

    /// <summary>The integer type that sums the products. The default, <see cref="Accumulation.Int32"/>, refuses a K that could overflow.</summary>
    public Accumulation Accumulation { get; set; } = Accumulation.Int32;

    /// <summary>The kinds of device to generate kernels for. The default is the processor, which every class has kernels for.</summary>
    public KernelTargets Targets { get; set; } = KernelTargets.Cpu;

    /// <summary>Rows of the CPU register tile, MR, each from 1 to 16. Left out: a curated list per instruction set.</summary>
    public int[]? CpuTileM { get; set; }

    /// <summary>Output features of the CPU register tile, NR, each a multiple of 4 from 4 to 64. Left out: a curated list per instruction set.</summary>
    public int[]? CpuTileN { get; set; }
}
