namespace KernelGen;

/// <summary>Bounds that follow from the arithmetic alone.</summary>
internal static class KernelLimits
{
    /// <summary>The largest magnitude of a quantized value.</summary>
    public const int MaxQuantized = 127;

    /// <summary>Panels hold a multiple of so many K groups, the last ones zero: kernels may take so many a round.</summary>
    public const int KGroupMultiple = 2;

    /// <summary>The largest K for which <c>sum(q_a * q_b)</c> fits 32 bits: floor((2^31 - 1) / 127^2).</summary>
    public const int MaxKSymmetric = int.MaxValue / (MaxQuantized * MaxQuantized);

    /// <summary>With a zero-point the corrected sum is <c>sum((q_a - z) * q_b)</c>, and |q_a - z| reaches 254.</summary>
    public const int MaxKZeroPoint = int.MaxValue / (2 * MaxQuantized * MaxQuantized);

    /// <summary>With sums in 64 bits the sum of an output feature's weights is still 32 bits wide: floor((2^31 - 1) / 127).</summary>
    public const int MaxKInt64 = int.MaxValue / MaxQuantized;

    /// <summary>The largest K that one 32-bit accumulation may span.</summary>
    public static int MaxK(ActivationQuantization activations) =>
        activations == ActivationQuantization.ZeroPoint ? MaxKZeroPoint : MaxKSymmetric;
}
