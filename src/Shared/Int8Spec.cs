namespace KernelGen;

/// <summary>What an <c>[Int8Kernel]</c> attribute asks for, apart from tile sizes: everything that decides the numbers.</summary>
/// <param name="Outliers">Which activations are multiplied in 16 bits.</param>
/// <param name="OutlierThreshold">The magnitude from which an activation is an outlier.</param>
/// <param name="Granularity">How many scales the operands have.</param>
/// <param name="Activations">How activations map to int8.</param>
/// <param name="Accumulation">The integer type that sums the products.</param>
public sealed record Int8Spec(
    OutlierPolicy Outliers = OutlierPolicy.Columns,
    float OutlierThreshold = Int8Spec.DefaultOutlierThreshold,
    QuantizationGranularity Granularity = QuantizationGranularity.Vector,
    ActivationQuantization Activations = ActivationQuantization.Symmetric,
    Accumulation Accumulation = Accumulation.Int32)
{
    /// <summary>The paper's threshold (arXiv 2208.07339, section 3.2).</summary>
    public const float DefaultOutlierThreshold = 6f;

    /// <summary>The largest K that one multiplication may have.</summary>
    public int MaxK => Accumulation == Accumulation.Int64 ? KernelLimits.MaxKInt64 : KernelLimits.MaxK(Activations);
}
