namespace KernelGen.Quantization;

/// <summary>The scale factors of the numeric contract, in float32, the same on every target.</summary>
internal static class AbsmaxScaling
{
    /// <summary>Below this absmax, 127 / absmax would leave the range of float32.</summary>
    private const float Tiny = 7.888609052210118e-31f; // 2^-100

    private const float Lift = 1.8446744073709552e19f; // 2^64

    /// <summary>
    /// Factors that quantize a row with the given absmax: q = round(x * Prescale * Scale). The scale is 127 * (1 / absmax), rounded twice: it
    /// decides 16-bit values that are exact ties as bitsandbytes does.
    /// </summary>
    public static (float Prescale, float Scale) Symmetric(float absmax)
    {
        float prescale = absmax < Tiny ? Lift : 1f;
        return absmax == 0 ? (1f, 0f) : (prescale, KernelLimits.MaxQuantized * (1f / (absmax * prescale)));
    }

    /// <summary>Factors and zero-point of a row with values in [low, high], which includes zero: q = round(x * Prescale * Scale) + ZeroPoint.</summary>
    public static (float Prescale, float Scale, int ZeroPoint) ZeroPoint(float low, float high)
    {
        float prescale = Math.Max(-low, high) < Tiny ? Lift : 1f;

        // Half of the range first: high - low alone may leave the range of float32.
        float half = ((high * prescale) * 0.5f) - ((low * prescale) * 0.5f);
        if (half == 0)
        {
            return (1f, 0f, 0);
        }

        float scale = KernelLimits.MaxQuantized / half;
        int zeroPoint = (int)MathF.Round(-(low * prescale) * scale, MidpointRounding.ToEven) - KernelLimits.MaxQuantized;
        return (prescale, scale, zeroPoint);
    }

    /// <summary>The factor of a symmetric row's result: absmax / 127.</summary>
    public static float Step(float absmax) => absmax / KernelLimits.MaxQuantized;

    /// <summary>The factor of a zero-point row's result: (high - low) / 254.</summary>
    public static float Step(float low, float high) => ((high * 0.5f) - (low * 0.5f)) / KernelLimits.MaxQuantized;
}
