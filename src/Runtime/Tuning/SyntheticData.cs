namespace KernelGen.Tuning;

/// <summary>
/// Values to multiply when there is no model: normally distributed weights, activations below the outlier threshold but for some columns. Rows
/// are windows of one buffer, so that making a matrix costs no more than copying it.
/// </summary>
internal static class SyntheticData
{
    /// <summary>Outlier columns of a model's activations (arXiv 2208.07339, section 4: six or seven feature dimensions).</summary>
    public const int OutlierColumnCount = 6;

    /// <summary>Rows of activations after which they repeat.</summary>
    public const int RowPeriod = 240;

    /// <summary>A prime, so that windows do not repeat.</summary>
    private const int RowStep = 7919;

    /// <summary>No value comes near the threshold of 6.</summary>
    private const float Largest = 4.5f;

    private static readonly Lazy<float[]> LazyNoise = new(() =>
    {
        Random random = new(1);
        float[] values = new float[1 << 20];
        for (int i = 0; i < values.Length; i += 2)
        {
            // Box and Muller.
            double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            (double sine, double cosine) = Math.SinCos(2 * Math.PI * random.NextDouble());
            values[i] = Value(radius * sine);
            values[i + 1] = Value(radius * cosine);
        }

        return values;

        static float Value(double x) => (float)(Half)Math.Clamp(x, -Largest, Largest);
    });

    private static readonly Lazy<sbyte[]> NormalWeights = new(static () => Array.ConvertAll(Noise, static x => (sbyte)Math.Clamp(x * 32, -127, 127)));

    private static readonly Lazy<sbyte[]> UniformWeights = new(static () =>
    {
        Random random = new(2);
        sbyte[] values = new sbyte[1 << 20];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (sbyte)random.Next(-127, 128);
        }

        return values;
    });

    /// <summary>Normally distributed values, within 4.5 of zero, that float16 represents.</summary>
    public static float[] Noise => LazyNoise.Value;

    /// <summary>The columns that hold outliers, ascending.</summary>
    public static int[] OutlierColumns(Int8Spec spec, int k, int count = OutlierColumnCount) => spec.Outliers == OutlierPolicy.None
        ? []
        : OutlierColumns(k, count);

    /// <summary>So many columns, or all of fewer, evenly spread, ascending.</summary>
    public static int[] OutlierColumns(int k, int count) => [.. Enumerable.Range(0, Math.Min(count, k)).Select(i => (int)((i + 0.5) * k / Math.Min(count, k)))];

    /// <summary>Fills a row of activations.</summary>
    /// <param name="spec">Decides whether there are outliers.</param>
    /// <param name="row">Which row.</param>
    /// <param name="outliers">The columns that hold them.</param>
    /// <param name="destination">K values.</param>
    public static void FillActivations(Int8Spec spec, int row, ReadOnlySpan<int> outliers, Span<float> destination)
    {
        Copy(Noise, row % RowPeriod, destination);
        if (spec.Granularity == QuantizationGranularity.Tensor && destination.Length > 2 + OutlierColumnCount)
        {
            // Every row spans the range of all: what one row gives does not depend on which others there are.
            (destination[0], destination[1]) = (-Largest, Largest);
        }

        foreach (int column in outliers)
        {
            destination[column] = 20 + (row % 10);
        }
    }

    /// <summary>Copies a window of a buffer, round its end where need be.</summary>
    private static void Copy<T>(T[] buffer, int row, Span<T> destination)
    {
        int start = (int)((long)row * RowStep % buffer.Length);
        while (!destination.IsEmpty)
        {
            int count = Math.Min(destination.Length, buffer.Length - start);
            buffer.AsSpan(start, count).CopyTo(destination);
            destination = destination[count..];
            start = 0;
        }
    }

    /// <summary>Int8 weights, [N,K], with an absmax per row where the spec has one.</summary>
    /// <param name="spec">Decides about scales.</param>
    /// <param name="n">Output features.</param>
    /// <param name="k">Input features.</param>
    /// <param name="uniform">Whether all int8 values are equally frequent, which needs the most power, instead of normally distributed.</param>
    public sealed class Weights(Int8Spec spec, int n, int k, bool uniform) : QuantizedWeightSource("synthetic weights", n, k)
    {
        private readonly sbyte[] _values = (uniform ? UniformWeights : NormalWeights).Value;

        /// <inheritdoc/>
        public override Type ElementType => typeof(float);

        /// <inheritdoc/>
        public override long Bytes => 0;

        /// <inheritdoc/>
        public override float Absmax(int row) => spec.Granularity == QuantizationGranularity.Vector ? 0.1f + (0.003f * (row % 61)) : 0.1f;

        /// <inheritdoc/>
        public override void ReadQuantizedRow(int row, Span<sbyte> destination) => Copy(_values, row, destination);

        /// <inheritdoc/>
        public override void ReadColumn(int column, int firstRow, Span<float> destination)
        {
            for (int i = 0; i < destination.Length; i++)
            {
                long position = ((long)(firstRow + i) * RowStep) + column;
                destination[i] = _values[position % _values.Length] * Quantization.AbsmaxScaling.Step(Absmax(firstRow + i));
            }
        }
    }
}
