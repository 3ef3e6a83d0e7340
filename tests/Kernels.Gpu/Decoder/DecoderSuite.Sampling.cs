namespace KernelGen.Kernels.Gpu;

/// <content>Drawn tokens.</content>
internal sealed partial class DecoderSuite
{
    private void Samples(bool briefly)
    {
        foreach (int vocabulary in briefly ? [300] : new[] { 1, 7, 1000, 50272 })
        {
            foreach (float spread in new[] { 4f, 0.01f })
            {
                Sample(vocabulary, spread, ties: false);
                Sample(vocabulary, spread, ties: true);
            }
        }
    }

    private void Sample(int vocabulary, float spread, bool ties)
    {
        SamplingRow[] settings =
        [
            new() { Temperature = 1, TopP = 1 }, new() { Temperature = 0.7f, TopP = 1 }, new() { Temperature = 1, TopP = 0.9f },
            new() { Temperature = 1.5f, TopP = 0.5f, TopK = 40 }, new() { Temperature = 1, TopP = 1, TopK = 3 }, new() { Temperature = 1, TopP = 0, TopK = 0 },
            new() { Temperature = 0, TopP = 1 }, new() { Temperature = 1, TopP = 1, TopK = 1 },
        ];
        const int Repeats = 4;
        SamplingRow[] rows = [.. Enumerable.Range(0, settings.Length * Repeats).Select(i => settings[i / Repeats] with { SeedLow = (uint)(i * 77), SeedHigh = (uint)i })];
        using DeviceData data = new(context, stream);
        Random random = new(vocabulary);
        float[] logits = DeviceData.Random(random, rows.Length * vocabulary, spread);
        if (ties)
        {
            logits = Array.ConvertAll(logits, logit => MathF.Round(logit * 2 / spread) * spread / 2);
        }

        uint[] positions = [.. Enumerable.Range(0, rows.Length).Select(i => (uint)(i * 3))];
        ulong logitsAt = data.Upload(logits), rowsAt = data.Upload(rows), tokensAt = data.Allocate(rows.Length * 4), positionsAt = data.Upload(positions);
        kernels.Sample(stream, rows.Length, Single(logitsAt, vocabulary), vocabulary, rowsAt, tokensAt, positionsAt, advance: true);
        uint[] tokens = data.Read<uint>(tokensAt, rows.Length);
        string what = $"sample of {vocabulary}, logits of {spread}, ties {ties}";
        int told = 0;
        for (int i = 0; i < rows.Length; i++)
        {
            ReadOnlySpan<float> own = logits.AsSpan(i * vocabulary, vocabulary);
            float largest = own.ToArray().Max();
            IReadOnlyList<uint> allowed = rows[i].Temperature == 0 || rows[i].TopP == 0 || rows[i].TopK == 1
                ? [(uint)own.IndexOf(largest)]
                : SamplingOracle.Draw(own, rows[i], positions[i]);
            told += allowed.Count > 0 ? 1 : 0;
            Expect(allowed.Count == 0 || allowed.Contains(tokens[i]), $"{what}: row {i} (temperature {rows[i].Temperature}, top-p {rows[i].TopP}, top-k {rows[i].TopK}) gives {tokens[i]}, expected {string.Join(" or ", allowed)}");
            ulong alone = data.Allocate(4);
            kernels.Sample(stream, 1, Single(logitsAt + (ulong)((long)i * vocabulary * 4), vocabulary), vocabulary, rowsAt + (ulong)(i * 20), alone, data.Upload<uint>([positions[i]]));
            Same($"{what}: row {i} alone", data.Read<uint>(alone, 1), [tokens[i]]);
        }

        Expect(told > rows.Length / 2, $"{what}: the oracle could tell {told} of {rows.Length} draws only");
        Same($"{what}: positions", data.Read<uint>(positionsAt, rows.Length), Array.ConvertAll(positions, position => position + 1));
    }
}
