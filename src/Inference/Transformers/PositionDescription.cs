namespace KernelGen.Inference.Transformers;

/// <summary>How a model knows a token's position: exactly one of the records below.</summary>
public abstract record PositionDescription;

/// <summary>A learned embedding of positions, added to that of the tokens.</summary>
/// <param name="Table">The embeddings.</param>
/// <param name="Offset">Row of position 0.</param>
public sealed record LearnedPositions(EmbeddingDescription Table, int Offset) : PositionDescription;

/// <summary>
/// Rotary positions (Su et al., <em>RoFormer</em>, arXiv 2104.09864): the first dimensions of every query and key are turned, the pair
/// (i, i + n) of 2n by the angle <c>position * Frequencies[i]</c>.
/// </summary>
/// <param name="Frequencies">[n] in radians per position; 2n is at most the width of a head, what is beyond is left as it is.</param>
public sealed record RotaryPositions(IReadOnlyList<float> Frequencies) : PositionDescription;

/// <summary>
/// Attention with linear biases (Press et al., <em>Train Short, Test Long</em>, arXiv 2108.12409): a score falls by the head's slope for
/// every position that the key lies behind the query.
/// </summary>
/// <param name="Slopes">[heads].</param>
public sealed record AlibiPositions(IReadOnlyList<float> Slopes) : PositionDescription
{
    /// <summary>The slopes of a number of heads, as the paper has them: geometric for a power of two, else filled up from the next one's.</summary>
    /// <param name="heads">Number of heads, at least 1.</param>
    /// <returns>The positions.</returns>
    public static AlibiPositions ForHeads(int heads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(heads, 1);
        int power = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)heads + 1) / 2;
        return new([.. Enumerable.Range(0, heads).Select(head => (float)(head < power
            ? Math.Pow(2, -8.0 * (head + 1) / power)
            : Math.Pow(2, -4.0 * ((2 * (head - power)) + 1) / power)))]);
    }
}
