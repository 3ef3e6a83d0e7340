using System.Numerics.Tensors;

namespace KernelGen.Inference.Generation;

/// <summary>Chooses the next token from logits.</summary>
internal sealed class TokenSampler
{
    private readonly float _temperature;
    private readonly float _topP;
    private readonly Random _random;

    public TokenSampler(GenerationOptions options)
    {
        _temperature = options.Temperature;
        _topP = options.TopP;

        // A seeded Random yields the same numbers on every machine and .NET version.
        _random = new Random(options.Seed);
    }

    /// <summary>The next token's id.</summary>
    /// <exception cref="InvalidOperationException">A logit is NaN or the largest is infinite: there is no sensible choice.</exception>
    public int Choose(ReadOnlySpan<float> logits)
    {
        float max = TensorPrimitives.Max(logits);
        if (!float.IsFinite(max))
        {
            throw new InvalidOperationException(
                $"The model's largest logit is {max}: its weights or activations are not finite. Use another checkpoint or scheme.");
        }

        // The first of equals, as everywhere.
        return _temperature == 0 ? logits.IndexOf(max) : Draw(logits, max);
    }

    private int Draw(ReadOnlySpan<float> logits, float max)
    {
        double[] probabilities = new double[logits.Length];
        double sum = 0;
        for (int i = 0; i < probabilities.Length; i++)
        {
            probabilities[i] = Math.Exp(((double)logits[i] - max) / _temperature);
            sum += probabilities[i];
        }

        if (_topP == 1)
        {
            return Draw(probabilities, null, probabilities.Length, sum);
        }

        // Most probable first; equals in the order of their ids.
        int[] ids = [.. Enumerable.Range(0, probabilities.Length)];
        Array.Sort(ids, (a, b) => probabilities[b] != probabilities[a] ? probabilities[b].CompareTo(probabilities[a]) : a.CompareTo(b));
        double nucleus = 0;
        int count = 0;
        while (count < ids.Length && nucleus < _topP * sum)
        {
            nucleus += probabilities[ids[count++]];
        }

        return Draw(probabilities, ids, count, nucleus);
    }

    private int Draw(double[] weights, int[]? order, int count, double sum)
    {
        double left = _random.NextDouble() * sum;
        int last = -1;
        for (int i = 0; i < count; i++)
        {
            int id = order is null ? i : order[i];
            if (weights[id] > 0)
            {
                // Rounding may leave a rest after all of them: the last possible token takes it.
                last = id;
                left -= weights[id];
                if (left < 0)
                {
                    break;
                }
            }
        }

        return last;
    }
}
