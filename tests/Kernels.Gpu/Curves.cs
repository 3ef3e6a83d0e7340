namespace KernelGen.Kernels.Gpu;

/// <summary>The activation functions in float64.</summary>
internal static class Curves
{
    public static float Apply(float x, Activation activation)
    {
        double value = x;
        return activation switch
        {
            Activation.Relu => x < 0 ? 0 : x,
            Activation.Gelu => (float)(value * 0.5 * Erfc(-value / Math.Sqrt(2))),
            Activation.GeluTanh => (float)(value / (1 + Math.Exp(-2 * Math.Sqrt(2 / Math.PI) * (value + (0.044715 * value * value * value))))),
            Activation.Silu => (float)(value / (1 + Math.Exp(-value))),
            _ => x,
        };
    }

    /// <summary>1 - erf(z): the power series near 0, the continued fraction beyond.</summary>
    private static double Erfc(double z)
    {
        if (double.IsNaN(z))
        {
            return z;
        }

        double magnitude = Math.Abs(z), result;
        if (magnitude < 2.5)
        {
            double sum = 0, term = magnitude;
            for (int n = 0; n < 100; n++)
            {
                sum += term / ((2 * n) + 1);
                term *= -magnitude * magnitude / (n + 1);
            }

            result = 1 - (2 / Math.Sqrt(Math.PI) * sum);
        }
        else
        {
            double fraction = 0;
            for (int n = 120; n >= 1; n--)
            {
                fraction = n / 2.0 / (magnitude + fraction);
            }

            result = Math.Exp(-magnitude * magnitude) / Math.Sqrt(Math.PI) / (magnitude + fraction);
        }

        return z >= 0 ? result : 2 - result;
    }
}
