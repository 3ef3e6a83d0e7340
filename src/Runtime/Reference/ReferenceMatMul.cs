using KernelGen.Quantization;

namespace KernelGen.Reference;

/// <summary>
/// The oracle: LLM.int8() (arXiv 2208.07339) written as its definition reads, one value at a time, on one thread. Every kernel is held against
/// it. Use it to check results; it is hundreds of times slower than <see cref="Int8KernelSet.MatMul{TInput, TOutput}(ReadOnlySpan{TInput}, int, Int8Weights, Span{TOutput}, ReadOnlySpan{float}, MatMulOptions?)"/>.
/// </summary>
public static class ReferenceMatMul
{
    /// <summary>Quantizes weights.</summary>
    /// <param name="spec">The numeric settings.</param>
    /// <param name="weights">[N,K], finite.</param>
    /// <returns>The int8 weights, and the absmax of every output feature.</returns>
    /// <exception cref="ArgumentException">A weight is not finite.</exception>
    public static (sbyte[,] Quantized, float[] Absmax) QuantizeWeights(Int8Spec spec, float[,] weights)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(weights);
        int rows = weights.GetLength(0), columns = weights.GetLength(1);
        float[] absmax = new float[rows];
        for (int n = 0; n < rows; n++)
        {
            for (int k = 0; k < columns; k++)
            {
                if (!float.IsFinite(weights[n, k]))
                {
                    throw new ArgumentException($"The weight at row {n}, column {k} is not finite.", nameof(weights));
                }

                absmax[n] = Math.Max(absmax[n], Math.Abs(weights[n, k]));
            }
        }

        if (spec.Granularity != QuantizationGranularity.Vector)
        {
            Array.Fill(absmax, absmax.Max());
        }

        sbyte[,] quantized = new sbyte[rows, columns];
        for (int n = 0; n < rows; n++)
        {
            for (int k = 0; k < columns; k++)
            {
                quantized[n, k] = (sbyte)QuantizeSymmetric(weights[n, k], absmax[n]);
            }
        }

        return (quantized, absmax);
    }

    /// <summary>Quantizes activations and separates the outliers.</summary>
    /// <param name="spec">The numeric settings.</param>
    /// <param name="activations">[M,K].</param>
    /// <param name="threshold">The outlier threshold; null means the spec's.</param>
    /// <param name="fixedColumns">The outlier columns of <see cref="OutlierPolicy.Fixed"/>.</param>
    public static ReferenceActivations QuantizeActivations(
        Int8Spec spec, float[,] activations, float? threshold = null, IReadOnlyCollection<int>? fixedColumns = null)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(activations);
        int rows = activations.GetLength(0), columns = activations.GetLength(1);
        bool[] finite = [.. Enumerable.Range(0, rows).Select(m => Enumerable.Range(0, columns).All(k => float.IsFinite(activations[m, k])))];
        bool[,] outlier = FindOutliers(spec, activations, finite, threshold ?? spec.OutlierThreshold, fixedColumns ?? []);

        float[] low = new float[rows], high = new float[rows];
        for (int m = 0; m < rows; m++)
        {
            for (int k = 0; k < columns; k++)
            {
                if (finite[m] && !outlier[m, k])
                {
                    low[m] = Math.Min(low[m], activations[m, k]);
                    high[m] = Math.Max(high[m], activations[m, k]);
                }
            }
        }

        if (spec.Granularity == QuantizationGranularity.Tensor && rows > 0)
        {
            Array.Fill(low, low.Min());
            Array.Fill(high, high.Max());
        }

        int[,] quantized = new int[rows, columns];
        float[] scales = new float[rows];
        int[] zeroPoints = new int[rows];
        for (int m = 0; m < rows; m++)
        {
            bool symmetric = spec.Activations == ActivationQuantization.Symmetric;
            float absmax = Math.Max(-low[m], high[m]);
            (float prescale, float scale, int zeroPoint) = AbsmaxScaling.ZeroPoint(low[m], high[m]);
            scales[m] = !finite[m] ? float.NaN : symmetric ? AbsmaxScaling.Step(absmax) : AbsmaxScaling.Step(low[m], high[m]);
            zeroPoints[m] = finite[m] && !symmetric ? zeroPoint : 0;
            for (int k = 0; k < columns; k++)
            {
                float x = finite[m] && !outlier[m, k] ? activations[m, k] : 0;
                quantized[m, k] = symmetric
                    ? QuantizeSymmetric(x, absmax)
                    : Math.Clamp((int)MathF.Round(x * prescale * scale, MidpointRounding.ToEven) + zeroPoints[m], -127, 127);
            }
        }

        return new ReferenceActivations(quantized, scales, zeroPoints, outlier);
    }

    /// <summary>The integer part: <c>sum over k of a[m,k] * w[n,k]</c>, exact.</summary>
    /// <param name="activations">[M,K].</param>
    /// <param name="weights">[N,K].</param>
    /// <returns>[M,N].</returns>
    public static long[,] MultiplyIntegers(int[,] activations, sbyte[,] weights)
    {
        ArgumentNullException.ThrowIfNull(activations);
        ArgumentNullException.ThrowIfNull(weights);
        int rows = activations.GetLength(0), columns = weights.GetLength(0), depth = weights.GetLength(1);
        long[,] sums = new long[rows, columns];
        for (int m = 0; m < rows; m++)
        {
            for (int n = 0; n < columns; n++)
            {
                for (int k = 0; k < depth; k++)
                {
                    sums[m, n] += activations[m, k] * weights[n, k];
                }
            }
        }

        return sums;
    }

    /// <summary>The whole multiplication, as <see cref="Int8KernelSet.MatMul{TInput, TOutput}(ReadOnlySpan{TInput}, int, Int8Weights, Span{TOutput}, ReadOnlySpan{float}, MatMulOptions?)"/> with float32 results.</summary>
    /// <param name="spec">The numeric settings.</param>
    /// <param name="activations">[M,K].</param>
    /// <param name="weights">[N,K].</param>
    /// <param name="bias">N values, or null for none.</param>
    /// <param name="activation">The function applied last.</param>
    /// <param name="outlierWeights">Where the weights of outlier columns come from.</param>
    /// <param name="threshold">The outlier threshold; null means the spec's.</param>
    /// <param name="fixedColumns">The outlier columns of <see cref="OutlierPolicy.Fixed"/>.</param>
    /// <returns>[M,N].</returns>
    public static float[,] MatMul(
        Int8Spec spec,
        float[,] activations,
        float[,] weights,
        float[]? bias = null,
        Activation activation = Activation.None,
        OutlierWeights outlierWeights = OutlierWeights.Dequantized,
        float? threshold = null,
        IReadOnlyCollection<int>? fixedColumns = null)
    {
        ArgumentNullException.ThrowIfNull(spec);
        (sbyte[,] w, float[] absmax) = QuantizeWeights(spec, weights);
        bool originals = outlierWeights == OutlierWeights.Original || spec.Outliers == OutlierPolicy.Fixed;
        return Combine(
            QuantizeActivations(spec, activations, threshold, fixedColumns), activations, w, absmax, originals ? weights : null, bias, activation, OutlierOrder.Apart);
    }

    /// <summary>The whole multiplication with weights that are int8 already.</summary>
    /// <param name="spec">The numeric settings.</param>
    /// <param name="activations">[M,K].</param>
    /// <param name="weights">[N,K].</param>
    /// <param name="absmax">Of the weight rows.</param>
    /// <param name="fixedColumns">The outlier columns of <see cref="OutlierPolicy.Fixed"/>; their weights are dequantized.</param>
    /// <param name="order">How outlier products are summed.</param>
    internal static float[,] MatMul(
        Int8Spec spec, float[,] activations, sbyte[,] weights, float[] absmax, IReadOnlyCollection<int> fixedColumns, OutlierOrder order) =>
        Combine(QuantizeActivations(spec, activations, null, fixedColumns), activations, weights, absmax, null, null, Activation.None, order);

    private static float[,] Combine(
        ReferenceActivations a,
        float[,] activations,
        sbyte[,] w,
        float[] absmax,
        float[,]? originals,
        float[]? bias,
        Activation activation,
        OutlierOrder order)
    {
        long[,] sums = MultiplyIntegers(a.Quantized, w);
        int rows = activations.GetLength(0), columns = w.GetLength(0), depth = w.GetLength(1);
        float[,] result = new float[rows, columns];
        for (int m = 0; m < rows; m++)
        {
            for (int n = 0; n < columns; n++)
            {
                float columnScale = AbsmaxScaling.Step(absmax[n]);
                long weightSum = 0;
                for (int k = 0; k < depth; k++)
                {
                    weightSum += w[n, k];
                }

                float y = (float)(sums[m, n] - (a.ZeroPoints[m] * weightSum)) * (a.Scales[m] * columnScale);
                float outliers = order == OutlierOrder.Chained ? y : 0;
                for (int k = 0; k < depth; k++)
                {
                    if (a.Outliers[m, k])
                    {
                        outliers = MathF.FusedMultiplyAdd(
                            activations[m, k], order == OutlierOrder.Unscaled ? w[n, k] : originals is null ? w[n, k] * columnScale : originals[n, k], outliers);
                    }
                }

                y = order switch
                {
                    OutlierOrder.Chained => outliers,
                    OutlierOrder.Unscaled => MathF.FusedMultiplyAdd(outliers, columnScale, y),
                    _ => y + outliers,
                };
                result[m, n] = Activate(activation, y + (bias is null ? 0 : bias[n]));
            }
        }

        return result;
    }

    private static bool[,] FindOutliers(
        Int8Spec spec, float[,] activations, bool[] finite, float threshold, IReadOnlyCollection<int> fixedColumns)
    {
        int rows = activations.GetLength(0), columns = activations.GetLength(1);
        bool[,] outlier = new bool[rows, columns];
        for (int k = 0; k < columns; k++)
        {
            bool column = spec.Outliers switch
            {
                OutlierPolicy.Columns => Enumerable.Range(0, rows).Any(m => finite[m] && Math.Abs(activations[m, k]) >= threshold),
                OutlierPolicy.Fixed => fixedColumns.Contains(k),
                _ => false,
            };
            for (int m = 0; m < rows; m++)
            {
                outlier[m, k] = column
                    || (spec.Outliers == OutlierPolicy.Elements && finite[m] && Math.Abs(activations[m, k]) >= threshold);
            }
        }

        return outlier;
    }

    private static int QuantizeSymmetric(float x, float absmax)
    {
        (float prescale, float scale) = AbsmaxScaling.Symmetric(absmax);
        return (int)MathF.Round(x * prescale * scale, MidpointRounding.ToEven);
    }

    private static float Activate(Activation activation, float x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => x < 0 ? 0 : x,
        Activation.Gelu => (float)(x * 0.5 * (1 + Erf(x / Math.Sqrt(2)))),
        Activation.GeluTanh => (float)(0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * (double)x))))),
        Activation.Silu => (float)(x / (1 + Math.Exp(-x))),
        _ => throw new ArgumentOutOfRangeException(nameof(activation), activation, "Not an activation function."),
    };

    /// <summary>The error function by a series whose terms are all of one sign, so that nothing cancels (DLMF 7.6.2); beyond 6 it is 1.</summary>
    private static double Erf(double x)
    {
        if (double.IsNaN(x) || Math.Abs(x) > 6)
        {
            return double.IsNaN(x) ? x : Math.Sign(x);
        }

        double term = x, sum = x;
        for (int n = 1; n < 200; n++)
        {
            term *= 2 * x * x / ((2 * n) + 1);
            sum += term;
        }

        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }
}
