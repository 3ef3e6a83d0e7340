using System.Numerics.Tensors;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>The function between an MLP's layers.</summary>
public enum ActivationFunction
{
    /// <summary><c>max(x, 0)</c>.</summary>
    Relu,

    /// <summary><c>x * Phi(x)</c> with the normal distribution's exact Phi.</summary>
    Gelu,

    /// <summary>The tanh approximation of GELU.</summary>
    GeluTanh,

    /// <summary><c>x / (1 + e^-x)</c>, also known as swish.</summary>
    Silu,
}

/// <summary>Names and arithmetic of <see cref="ActivationFunction"/>.</summary>
internal static class ActivationFunctions
{
    private const string Supported = "relu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, silu or swish";

    /// <summary>The activation that a config names.</summary>
    /// <exception cref="CheckpointException">It is none of the supported ones.</exception>
    public static ActivationFunction Read(ConfigReader config, string key, string defaultName) => config.GetString(key, defaultName) switch
    {
        "relu" => ActivationFunction.Relu,
        "gelu" => ActivationFunction.Gelu,
        "gelu_new" or "gelu_fast" or "gelu_pytorch_tanh" => ActivationFunction.GeluTanh,
        "silu" or "swish" => ActivationFunction.Silu,
        _ => throw config.Unsupported(key, Supported, "Use a checkpoint with one of these activations."),
    };

    /// <summary>Applies an activation in place.</summary>
    public static void Apply(ActivationFunction activation, Span<float> values)
    {
        switch (activation)
        {
            case ActivationFunction.Relu:
                // Max keeps a NaN, as it must.
                TensorPrimitives.Max(values, 0f, values);
                break;
            case ActivationFunction.Gelu:
                foreach (ref float value in values)
                {
                    value = (float)(0.5 * value * Erfc(-value / Math.Sqrt(2)));
                }

                break;
            case ActivationFunction.Silu:
                foreach (ref float value in values)
                {
                    value = (float)(value / (1 + Math.Exp(-(double)value)));
                }

                break;
            default:
                foreach (ref float value in values)
                {
                    double x = value;
                    value = (float)(0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))));
                }

                break;
        }
    }

    /// <summary>
    /// The complementary error function, with a relative error below 1.2e-7, the resolution of float32 (the Chebyshev fit of Numerical
    /// Recipes, 6.2). GELU needs it relative: for negative x it is a product with a tiny number.
    /// </summary>
    internal static double Erfc(double x)
    {
        double t = 1 / (1 + (0.5 * Math.Abs(x)));
        double fit = 0.17087277;
        fit = (fit * t) - 0.82215223;
        fit = (fit * t) + 1.48851587;
        fit = (fit * t) - 1.13520398;
        fit = (fit * t) + 0.27886807;
        fit = (fit * t) - 0.18628806;
        fit = (fit * t) + 0.09678418;
        fit = (fit * t) + 0.37409196;
        fit = (fit * t) + 1.00002368;
        fit = (fit * t) - 1.26551223;
        double tail = t * Math.Exp((-x * x) + fit);
        return x >= 0 ? tail : 2 - tail;
    }
}
