using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace KernelGen.Kernels;

/// <summary>The activation functions that generated epilogues apply, in float32.</summary>
/// <remarks>
/// The error function is approximation 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions, absolute error below 1.5e-7; tanh and
/// sigmoid are exponentials.
/// </remarks>
[EditorBrowsable(EditorBrowsableState.Never)]
public static class CpuActivations
{
    /// <summary>Applies an activation function; NaN stays NaN.</summary>
    /// <param name="activation">The function.</param>
    /// <param name="x">The argument.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Apply(Activation activation, float x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => x < 0 ? 0 : x,
        _ => ApplySmooth(activation, x),
    };

    private static float ApplySmooth(Activation activation, float x) => activation switch
    {
        Activation.Gelu => x * NormalDistribution(x),

        // 0.5 * (1 + tanh(u)) is sigmoid(2u).
        Activation.GeluTanh => x * Sigmoid(x * 1.5957691f * (1f + (x * x * 0.044715f))),
        _ => x * Sigmoid(x),
    };

    private static float Sigmoid(float x) => 1f / (1f + MathF.Exp(-x));

    /// <summary>The cumulative normal distribution. The tail below zero is computed as such: 1 + erf(x) would lose it to rounding.</summary>
    private static float NormalDistribution(float x)
    {
        float t = 1f / (1f + (MathF.Abs(x) * 0.23164189f));
        float p = ((((((((1.061405429f * t) - 1.453152027f) * t) + 1.421413741f) * t) - 0.284496736f) * t) + 0.254829592f) * t;
        float tail = 0.5f * p * MathF.Exp(x * x * -0.5f);
        return x < 0 ? tail : 1f - tail;
    }

    /// <summary>Applies an activation function; NaN stays NaN.</summary>
    /// <param name="activation">The function.</param>
    /// <param name="x">The arguments.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Apply(Activation activation, Vector128<float> x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => Vector128.AndNot(x, Vector128.LessThan(x, Vector128<float>.Zero).AsSingle()),
        _ => ApplySmooth(activation, x),
    };

    private static Vector128<float> ApplySmooth(Activation activation, Vector128<float> x) => activation switch
    {
        Activation.Gelu => x * NormalDistribution(x),

        // 0.5 * (1 + tanh(u)) is sigmoid(2u).
        Activation.GeluTanh => x * Sigmoid(x * Vector128.Create(1.5957691f) * (Vector128.Create(1f) + (x * x * Vector128.Create(0.044715f)))),
        _ => x * Sigmoid(x),
    };

    private static Vector128<float> Sigmoid(Vector128<float> x) => Vector128.Create(1f) / (Vector128.Create(1f) + Vector128.Exp(-x));

    /// <summary>The cumulative normal distribution. The tail below zero is computed as such: 1 + erf(x) would lose it to rounding.</summary>
    private static Vector128<float> NormalDistribution(Vector128<float> x)
    {
        Vector128<float> t = Vector128.Create(1f) / (Vector128.Create(1f) + (Vector128.Abs(x) * Vector128.Create(0.23164189f)));
        Vector128<float> p = ((((((((Vector128.Create(1.061405429f) * t) - Vector128.Create(1.453152027f)) * t) + Vector128.Create(1.421413741f)) * t) - Vector128.Create(0.284496736f)) * t) + Vector128.Create(0.254829592f)) * t;
        Vector128<float> tail = Vector128.Create(0.5f) * p * Vector128.Exp(x * x * Vector128.Create(-0.5f));
        return Vector128.ConditionalSelect(Vector128.LessThan(x, Vector128<float>.Zero), tail, Vector128.Create(1f) - tail);
    }

    /// <summary>Applies an activation function; NaN stays NaN.</summary>
    /// <param name="activation">The function.</param>
    /// <param name="x">The arguments.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Apply(Activation activation, Vector256<float> x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => Vector256.AndNot(x, Vector256.LessThan(x, Vector256<float>.Zero).AsSingle()),
        _ => ApplySmooth(activation, x),
    };

    private static Vector256<float> ApplySmooth(Activation activation, Vector256<float> x) => activation switch
    {
        Activation.Gelu => x * NormalDistribution(x),

        // 0.5 * (1 + tanh(u)) is sigmoid(2u).
        Activation.GeluTanh => x * Sigmoid(x * Vector256.Create(1.5957691f) * (Vector256.Create(1f) + (x * x * Vector256.Create(0.044715f)))),
        _ => x * Sigmoid(x),
    };

    private static Vector256<float> Sigmoid(Vector256<float> x) => Vector256.Create(1f) / (Vector256.Create(1f) + Vector256.Exp(-x));

    /// <summary>The cumulative normal distribution. The tail below zero is computed as such: 1 + erf(x) would lose it to rounding.</summary>
    private static Vector256<float> NormalDistribution(Vector256<float> x)
    {
        Vector256<float> t = Vector256.Create(1f) / (Vector256.Create(1f) + (Vector256.Abs(x) * Vector256.Create(0.23164189f)));
        Vector256<float> p = ((((((((Vector256.Create(1.061405429f) * t) - Vector256.Create(1.453152027f)) * t) + Vector256.Create(1.421413741f)) * t) - Vector256.Create(0.284496736f)) * t) + Vector256.Create(0.254829592f)) * t;
        Vector256<float> tail = Vector256.Create(0.5f) * p * Vector256.Exp(x * x * Vector256.Create(-0.5f));
        return Vector256.ConditionalSelect(Vector256.LessThan(x, Vector256<float>.Zero), tail, Vector256.Create(1f) - tail);
    }

    /// <summary>Applies an activation function; NaN stays NaN.</summary>
    /// <param name="activation">The function.</param>
    /// <param name="x">The arguments.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Activation activation, Vector512<float> x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => Vector512.AndNot(x, Vector512.LessThan(x, Vector512<float>.Zero).AsSingle()),
        _ => ApplySmooth(activation, x),
    };

    private static Vector512<float> ApplySmooth(Activation activation, Vector512<float> x) => activation switch
    {
        Activation.Gelu => x * NormalDistribution(x),

        // 0.5 * (1 + tanh(u)) is sigmoid(2u).
        Activation.GeluTanh => x * Sigmoid(x * Vector512.Create(1.5957691f) * (Vector512.Create(1f) + (x * x * Vector512.Create(0.044715f)))),
        _ => x * Sigmoid(x),
    };

    private static Vector512<float> Sigmoid(Vector512<float> x) => Vector512.Create(1f) / (Vector512.Create(1f) + Vector512.Exp(-x));

    /// <summary>The cumulative normal distribution. The tail below zero is computed as such: 1 + erf(x) would lose it to rounding.</summary>
    private static Vector512<float> NormalDistribution(Vector512<float> x)
    {
        Vector512<float> t = Vector512.Create(1f) / (Vector512.Create(1f) + (Vector512.Abs(x) * Vector512.Create(0.23164189f)));
        Vector512<float> p = ((((((((Vector512.Create(1.061405429f) * t) - Vector512.Create(1.453152027f)) * t) + Vector512.Create(1.421413741f)) * t) - Vector512.Create(0.284496736f)) * t) + Vector512.Create(0.254829592f)) * t;
        Vector512<float> tail = Vector512.Create(0.5f) * p * Vector512.Exp(x * x * Vector512.Create(-0.5f));
        return Vector512.ConditionalSelect(Vector512.LessThan(x, Vector512<float>.Zero), tail, Vector512.Create(1f) - tail);
    }
}
