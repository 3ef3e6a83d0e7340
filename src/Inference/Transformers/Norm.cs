using System.Numerics;

namespace KernelGen.Inference.Transformers;

/// <summary>A norm in float32, row by row.</summary>
internal sealed class Norm
{
    private readonly float[]? _weight;
    private readonly float[]? _bias;
    private readonly NormDescription _description;

    public Norm(NormDescription description, float[]? weight, float[]? bias)
    {
        _description = description;
        _weight = weight;
        _bias = bias;
    }

    public int Size => _description.Size;

    public long Bytes => ((_weight?.Length ?? 0) + (_bias?.Length ?? 0)) * (long)sizeof(float);

    /// <summary>Normalizes one row of <see cref="Size"/> values; the destination may be the source.</summary>
    public void Apply(ReadOnlySpan<float> source, Span<float> destination)
    {
        // Two passes: the mean's square is far larger than the variance where a few dimensions are outliers.
        // A root-mean-square norm takes the mean for zero.
        float mean = _description.Kind == NormKind.Layer ? Sum(source) / Size : 0;
        float variance = SumOfSquares(source, mean) / Size;
        float factor = 1f / MathF.Sqrt(variance + _description.Epsilon);

        int i = 0;
        Vector<float> means = new(mean);
        Vector<float> factors = new(factor);
        for (; i <= source.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> value = (new Vector<float>(source[i..]) - means) * factors;
            value = _weight is null ? value : value * new Vector<float>(_weight, i);
            value = _bias is null ? value : value + new Vector<float>(_bias, i);
            value.CopyTo(destination[i..]);
        }

        for (; i < source.Length; i++)
        {
            float value = (source[i] - mean) * factor;
            value = _weight is null ? value : value * _weight[i];
            destination[i] = _bias is null ? value : value + _bias[i];
        }
    }

    private static float Sum(ReadOnlySpan<float> values)
    {
        Vector<float> sums = Vector<float>.Zero;
        int i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            sums += new Vector<float>(values[i..]);
        }

        float sum = Vector.Sum(sums);
        for (; i < values.Length; i++)
        {
            sum += values[i];
        }

        return sum;
    }

    private static float SumOfSquares(ReadOnlySpan<float> values, float mean)
    {
        Vector<float> means = new(mean);
        Vector<float> sums = Vector<float>.Zero;
        int i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> difference = new Vector<float>(values[i..]) - means;
            sums += difference * difference;
        }

        float sum = Vector.Sum(sums);
        for (; i < values.Length; i++)
        {
            sum += (values[i] - mean) * (values[i] - mean);
        }

        return sum;
    }
}
