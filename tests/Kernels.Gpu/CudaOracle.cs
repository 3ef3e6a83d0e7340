using KernelGen.Quantization;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// LLM.int8() on host arrays, one obvious loop after the other, with the float32 operations in the order that the CUDA kernels document: results
/// without a curved activation function must agree bit for bit.
/// </summary>
internal sealed class CudaOracle
{
    private readonly Int8Spec spec;
    private readonly int rows;
    private readonly int k;

    public CudaOracle(Int8Spec spec, float[] a, int rows, int k, int[] fixedColumns)
    {
        this.spec = spec;
        this.rows = rows;
        this.k = k;
        Quantized = new sbyte[rows * k];
        Steps = new float[rows];
        Zeros = new int[rows];
        Outlier = new bool[rows * k];
        Quantize(a, fixedColumns);
    }

    public sbyte[] Quantized { get; }

    public float[] Steps { get; }

    public int[] Zeros { get; }

    /// <summary>Whether an element is multiplied in float32.</summary>
    public bool[] Outlier { get; }

    /// <summary>Columns in which any element is.</summary>
    public int OutlierColumns => Enumerable.Range(0, k).Count(i => Enumerable.Range(0, rows).Any(m => Outlier[(m * k) + i]));

    /// <summary>Integer sums, zero-points corrected.</summary>
    public int Sum(int m, sbyte[] weights, int n)
    {
        int sum = 0;
        for (int i = 0; i < k; i++)
        {
            sum += (Quantized[(m * k) + i] - Zeros[m]) * weights[(n * k) + i];
        }

        return sum;
    }

    /// <summary>One result in float32, before the activation function.</summary>
    public float Result(float[] a, int m, sbyte[] weights, float[] columnSteps, int n, float[]? originals, float[]? bias)
    {
        float value = Sum(m, weights, n) * (Steps[m] * columnSteps[n]), sum = originals is null ? 0 : value;
        for (int i = 0; i < k; i++)
        {
            if (Outlier[(m * k) + i])
            {
                sum = MathF.FusedMultiplyAdd(a[(m * k) + i], originals is null ? weights[(n * k) + i] : originals[(n * k) + i], sum);
            }
        }

        value = originals is null ? MathF.FusedMultiplyAdd(sum, columnSteps[n], value) : sum;
        return bias is null ? value : value + bias[n];
    }

    /// <summary>The most that float32 sums of a result's outliers, in whatever order, can be apart.</summary>
    public float OutlierSlack(float[] a, int m, sbyte[] weights, float[] columnSteps, int n)
    {
        float magnitude = 0;
        for (int i = 0; i < k; i++)
        {
            magnitude += Outlier[(m * k) + i] ? MathF.Abs(a[(m * k) + i] * weights[(n * k) + i]) : 0;
        }

        return magnitude * columnSteps[n] * MathF.Pow(2, -20);
    }

    private void Quantize(float[] a, int[] fixedColumns)
    {
        bool[] finite = new bool[rows], column = new bool[k];
        for (int m = 0; m < rows; m++)
        {
            finite[m] = Enumerable.Range(0, k).All(i => float.IsFinite(a[(m * k) + i]));
        }

        foreach (int i in fixedColumns)
        {
            column[i] = true;
        }

        for (int m = 0; m < rows; m++)
        {
            for (int i = 0; i < k && spec.Outliers == OutlierPolicy.Columns; i++)
            {
                column[i] |= finite[m] && MathF.Abs(a[(m * k) + i]) >= spec.OutlierThreshold;
            }
        }

        float[] low = new float[rows], high = new float[rows];
        for (int m = 0; m < rows; m++)
        {
            for (int i = 0; i < k && finite[m]; i++)
            {
                float x = a[(m * k) + i];
                bool outlier = spec.Outliers == OutlierPolicy.Elements ? MathF.Abs(x) >= spec.OutlierThreshold : column[i];
                Outlier[(m * k) + i] = outlier;
                if (!outlier)
                {
                    bool symmetric = spec.Activations == ActivationQuantization.Symmetric;
                    high[m] = Math.Max(high[m], symmetric ? MathF.Abs(x) : x);
                    low[m] = Math.Min(low[m], x);
                }
            }
        }

        if (spec.Granularity == QuantizationGranularity.Tensor)
        {
            Array.Fill(low, low.Min());
            Array.Fill(high, high.Max());
        }

        for (int m = 0; m < rows; m++)
        {
            if (!finite[m])
            {
                Steps[m] = float.NaN;
                continue;
            }

            float prescale, scale;
            if (spec.Activations == ActivationQuantization.Symmetric)
            {
                (prescale, scale) = AbsmaxScaling.Symmetric(high[m]);
                Steps[m] = AbsmaxScaling.Step(high[m]);
            }
            else
            {
                (prescale, scale, Zeros[m]) = AbsmaxScaling.ZeroPoint(low[m], high[m]);
                Steps[m] = AbsmaxScaling.Step(low[m], high[m]);
            }

            for (int i = 0; i < k; i++)
            {
                int q = Outlier[(m * k) + i] ? 0 : (int)MathF.Round(a[(m * k) + i] * prescale * scale, MidpointRounding.ToEven);
                Quantized[(m * k) + i] = (sbyte)Math.Clamp(q + Zeros[m], -127, 127);
            }
        }
    }
}
