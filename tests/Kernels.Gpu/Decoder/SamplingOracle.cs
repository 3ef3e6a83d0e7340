namespace KernelGen.Kernels.Gpu;

/// <summary>The draw of a token in float64, one obvious step after the other.</summary>
internal static class SamplingOracle
{
    /// <summary>Relative error of the device's probabilities, which have 30 fractional bits.</summary>
    private const double Error = 3e-6;

    /// <summary>The tokens that the draw may give: one, or two where the random number lies at their border. Empty where the nucleus' border is too close to tell.</summary>
    public static IReadOnlyList<uint> Draw(ReadOnlySpan<float> logits, SamplingRow row, uint position)
    {
        double[] weights = new double[logits.Length];
        float largest = float.NegativeInfinity;
        foreach (float logit in logits)
        {
            largest = Math.Max(largest, logit);
        }

        for (int i = 0; i < weights.Length; i++)
        {
            weights[i] = Math.Exp(((double)logits[i] - largest) / row.Temperature);
        }

        int[] order = [.. Enumerable.Range(0, weights.Length).OrderByDescending(i => weights[i]).ThenBy(i => i)];
        int kept = row.TopK > 0 ? (int)Math.Min(row.TopK, (uint)order.Length) : order.Length;
        if (row.TopP < 1)
        {
            double limit = order.Take(kept).Sum(i => weights[i]) * row.TopP, sum = 0;
            for (int i = 0; i < kept; i++)
            {
                sum += weights[order[i]];
                if (Math.Abs(sum - limit) < Error * limit)
                {
                    return [];
                }

                if (sum >= limit)
                {
                    kept = i + 1;
                }
            }
        }

        int[] ids = [.. order.Take(kept).Order()];
        double total = ids.Sum(i => weights[i]), at = Random(row, position) * total, running = 0;
        List<uint> result = [];
        foreach (int id in ids)
        {
            if (at >= running - (Error * total) && at < running + weights[id] + (Error * total))
            {
                result.Add((uint)id);
            }

            running += weights[id];
        }

        return result;
    }

    /// <summary>Philox 4x32-10 (Salmon et al., SC 2011), the first 64 bits as a fraction.</summary>
    public static double Random(SamplingRow row, uint position)
    {
        uint[] x = [position, 0, 0, 0];
        (uint low, uint high) = (row.SeedLow, row.SeedHigh);
        for (int round = 0; round < 10; round++)
        {
            ulong first = 0xD2511F53ul * x[0], second = 0xCD9E8D57ul * x[2];
            x = [(uint)(second >> 32) ^ x[1] ^ low, (uint)second, (uint)(first >> 32) ^ x[3] ^ high, (uint)first];
            low += 0x9E3779B9;
            high += 0xBB67AE85;
        }

        return (((ulong)x[1] << 32) | x[0]) / 18446744073709551616.0;
    }
}
