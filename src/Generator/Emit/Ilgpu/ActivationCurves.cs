namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// The activation functions, chosen at run time, with an exponential of their own: ILGPU's is missing on some accelerators and differs between the others.
/// The formulas are those of the CUDA kernels.
/// </summary>
internal static class ActivationCurves
{
    public const string Text = """
        // 2^x: a polynomial of degree 7 on [-0.5, 0.5] (the Taylor series, below 6e-9 off), scaled by exponent bits.
        private static float Exp2(float x)
        {
            float clamped = x < -126f ? -126f : x > 127f ? 127f : x;
            int whole = Round(clamped);
            float f = clamped - whole;
            float y = 1.5252734E-05f;
            y = (y * f) + 0.00015403531f;
            y = (y * f) + 0.0013333558f;
            y = (y * f) + 0.009618129f;
            y = (y * f) + 0.05550411f;
            y = (y * f) + 0.24022651f;
            y = (y * f) + 0.6931472f;
            y = (y * f) + 1f;
            return y * BitConverter.Int32BitsToSingle((whole + 127) << 23);
        }

        private static float Activate(float x, int activation)
        {
            if (float.IsNaN(x))
            {
                return x;
            }

            if (activation == 1)
            {
                return x < 0f ? 0f : x;
            }

            if (activation == 2)
            {
                // erfc(z) = t exp(-z^2 + polynomial(t)), t = 1 / (1 + z/2): relative error below 1.2e-7 for every z >= 0.
                float z = Math.Abs(x * 0.70710677f);
                float t = 1f / ((z * 0.5f) + 1f);
                float p = 0.17087277f;
                p = (p * t) - 0.82215223f;
                p = (p * t) + 1.48851587f;
                p = (p * t) - 1.13520398f;
                p = (p * t) + 0.27886807f;
                p = (p * t) - 0.18628806f;
                p = (p * t) + 0.09678418f;
                p = (p * t) + 0.37409196f;
                p = (p * t) + 1.00002368f;
                p = (p * t) - 1.26551223f;
                float tail = Exp2(((p - (z * z)) * 1.442695f)) * t * 0.5f;
                return x * (x < 0f ? tail : 1f - tail);
            }

            // 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): no cancellation for negative x.
            float y = activation == 3 ? x * ((x * x * 0.071354814f) + 1.5957692f) : x;
            float e = Exp2(y * -1.442695f) + 1f;

            // Beyond exp(88) the quotient would stop at x / 2^127; sigmoid is 0 there.
            return e < 1.7E+38f ? x / e : -0f;
        }
        """;
}
