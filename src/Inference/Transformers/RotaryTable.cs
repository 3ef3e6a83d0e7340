namespace KernelGen.Inference.Transformers;

/// <summary>Cosines and sines of the angles by which one pass turns its queries and keys; the same for every layer.</summary>
internal sealed class RotaryTable
{
    private readonly int _pairs;
    private readonly float[] _cosines;
    private readonly float[] _sines;

    /// <summary>Computes the table.</summary>
    /// <param name="positions">The frequencies.</param>
    /// <param name="pass">The pass, for its rows' positions.</param>
    public RotaryTable(RotaryPositions positions, DecoderPass pass)
    {
        float[] frequencies = [.. positions.Frequencies];
        _pairs = frequencies.Length;
        _cosines = pass.Allocate(_pairs);
        _sines = pass.Allocate(_pairs);
        pass.ForRows(_pairs, (first, count) =>
        {
            for (int row = first; row < first + count; row++)
            {
                float position = pass.Position(row);
                for (int i = 0; i < frequencies.Length; i++)
                {
                    // The product is rounded to float32, as in the implementations that models are trained with.
                    (float sine, float cosine) = MathF.SinCos(position * frequencies[i]);
                    _cosines[(row * frequencies.Length) + i] = cosine;
                    _sines[(row * frequencies.Length) + i] = sine;
                }
            }
        });
    }

    /// <summary>Turns all heads of a row, in place.</summary>
    public void Turn(HeadView view, int row, int heads)
    {
        ReadOnlySpan<float> cosines = _cosines.AsSpan(row * _pairs, _pairs);
        ReadOnlySpan<float> sines = _sines.AsSpan(row * _pairs, _pairs);
        for (int head = 0; head < heads; head++)
        {
            Span<float> values = view.Values.AsSpan((int)view.At(row, head), 2 * _pairs);
            Span<float> left = values[.._pairs];
            Span<float> right = values[_pairs..];
            for (int i = 0; i < left.Length; i++)
            {
                (float x, float y) = (left[i], right[i]);
                left[i] = (x * cosines[i]) - (y * sines[i]);
                right[i] = (y * cosines[i]) + (x * sines[i]);
            }
        }
    }
}
