using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Gpu;

/// <content>Rotary positions, the cache, attention.</content>
internal sealed partial class DecoderSuite
{
    /// <summary>As many heads of keys as of queries; three to one; eight to one, which no block holds at a time.</summary>
    private static readonly (int Heads, int KeyValueHeads)[] Groups = [(4, 4), (6, 2), (8, 1)];

    private static int[] HeadSizes => [.. Decoder.DecoderKernels.HeadSizes];

    private void RotaryAndCache()
    {
        foreach (int size in HeadSizes)
        {
            foreach (int pairs in new[] { 0, 2, 8, size / 2 }.Distinct().Where(pairs => 2 * pairs <= size))
            {
                const int Heads = 6, KeyValueHeads = 2, All = Heads + (2 * KeyValueHeads);
                using DeviceData data = new(context, stream);
                int[] lengths = [1, 64, 130];
                CachedSequences cache = new(data, KeyValueHeads, size, lengths, lengths, seed: size + pairs);
                uint[] positions = [0, 63, DecoderRow.Inactive, 128], sequences = [0, 1, 0, 2];
                ulong projected = data.Upload(DeviceData.Random(new Random(pairs), positions.Length * All * size, 3), ElementFormat.Float16, out float[] values);
                float[] table = new float[130 * Math.Max(pairs, 1) * 2];
                for (int i = 0; i < table.Length / 2; i++)
                {
                    (table[(2 * i) + 1], table[2 * i]) = MathF.SinCos(i / Math.Max(pairs, 1) * MathF.Pow(10000, -(float)(i % Math.Max(pairs, 1)) / Math.Max(pairs, 1)));
                }

                CudaHeads View(int head) => new(projected + (ulong)(head * size * 2), All * size, size);
                kernels.RotaryAndStore(
                    stream, positions.Length, new(Heads, KeyValueHeads, size, 1), View(0), View(Heads), View(Heads + KeyValueHeads), data.Upload(positions), data.Upload(sequences), new(pairs == 0 ? 0 : data.Upload(table), pairs), cache.Pages);
                float[] rows = data.ReadHalves(projected, values.Length), keys = cache.ReadKeys(), stored = cache.ReadValues();
                string what = $"rotary, heads of {size}, {pairs} pairs";
                int written = 0;
                for (int row = 0; row < positions.Length; row++)
                {
                    for (int head = 0; head < All; head++)
                    {
                        ReadOnlySpan<float> source = values.AsSpan(((row * All) + head) * size, size);
                        bool active = positions[row] != DecoderRow.Inactive, isQuery = head < Heads, isValue = head >= Heads + KeyValueHeads;
                        double[] want = Turned(source, active && !isValue ? pairs : 0, table, active ? (int)positions[row] : 0);
                        int keyHead = isQuery ? 0 : (head - Heads) % KeyValueHeads;
                        int at = active ? cache.InPages((int)sequences[row], (int)positions[row], keyHead) : 0;
                        if (!active && !isQuery)
                        {
                            continue;
                        }

                        ReadOnlySpan<float> got = isQuery ? rows.AsSpan(((row * All) + head) * size, size) : (isValue ? stored : keys).AsSpan(at, size);
                        written += isQuery || isValue ? 0 : size;
                        Compare($"{what}, row {row}, head {head}", got.ToArray(), want, i => Half16(want[i]) + 1e-6);
                    }
                }

                Expect(keys.Count(key => !float.IsNaN(key)) == written, $"{what}: {keys.Count(key => !float.IsNaN(key))} keys were written, not {written}");
            }
        }
    }

    private static double[] Turned(ReadOnlySpan<float> source, int pairs, float[] table, int position)
    {
        double[] result = new double[source.Length];
        for (int i = 0; i < result.Length; i++)
        {
            int pair = i < pairs ? i : i - pairs;
            if (i >= 2 * pairs)
            {
                result[i] = source[i];
                continue;
            }

            double cosine = table[((position * pairs) + pair) * 2], sine = table[(((position * pairs) + pair) * 2) + 1];
            result[i] = i < pairs ? (source[i] * cosine) - (source[i + pairs] * sine) : (source[i] * cosine) + (source[i - pairs] * sine);
        }

        return result;
    }

    private void DecodeAttention(bool briefly)
    {
        int[] lengths = briefly ? [1, 65, 130] : [1, 2, 63, 64, 65, 200, 1100, 40];
        foreach (int size in briefly ? [80] : HeadSizes)
        {
            foreach ((int heads, int keyValueHeads) in Groups)
            {
                Decode(size, heads, keyValueHeads, lengths, window: 0, slopes: false, appends: true);
                Decode(size, heads, keyValueHeads, lengths, window: 100, slopes: true, appends: false);
            }
        }
    }

    /// <summary>
    /// An int8 cache: what is packed lies within half a step of what was given, the float16 pages become exactly that, widening gives them back, and attention
    /// is that of the float16 kernel on them.
    /// </summary>
    private void Int8Cache(bool briefly)
    {
        int[] lengths = briefly ? [1, 65, 130] : [1, 2, 63, 64, 65, 200, 1100, 40];
        foreach (int size in briefly ? [80] : HeadSizes)
        {
            foreach ((int heads, int keyValueHeads) in Groups)
            {
                Int8Cache(size, heads, keyValueHeads, lengths);
            }
        }
    }

    private void Int8Cache(int size, int heads, int keyValueHeads, int[] lengths)
    {
        using DeviceData data = new(context, stream);
        using CudaAttentionWorkspace workspace = new(context, stream);
        CachedSequences cache = new(data, keyValueHeads, size, lengths, [.. lengths.Select(static _ => 0)], seed: size + heads);
        int elements = cache.PageElements, width = heads * size;
        CudaInt8Pages int8 = new(data.Allocate(elements), data.Allocate(elements), data.Allocate(elements / size * 4), data.Allocate(elements / size * 4));
        CudaAttentionShape shape = new(heads, keyValueHeads, size, 1 / MathF.Sqrt(size), 100, data.Upload([.. Enumerable.Range(0, heads).Select(static head => MathF.Pow(2, -head - 1))]));
        string what = $"int8 cache, {heads} heads on {keyValueHeads} of {size}";

        // Every position is a row, and one holds none.
        (int Sequence, int Position)[] all = [.. lengths.SelectMany((length, sequence) => Enumerable.Range(0, length).Select(position => (sequence, position)))];
        ulong rowPositions = data.Upload([.. all.Select(static row => (uint)row.Position), DecoderRow.Inactive]), rowSequences = data.Upload([.. all.Select(static row => (uint)row.Sequence), 0u]);
        kernels.PackCache(stream, all.Length + 1, shape, rowPositions, rowSequences, cache.Pages, int8);
        foreach ((bool isValue, ulong values, ulong stepsAt, float[] half) in new[] { (false, int8.Keys, int8.KeySteps, cache.ReadKeys()), (true, int8.Values, int8.ValueSteps, cache.ReadValues()) })
        {
            sbyte[] packed = data.Read<sbyte>(values, elements);
            float[] steps = data.Read<float>(stepsAt, elements / size);
            int wrong = 0;
            foreach ((int sequence, int position) in all)
            {
                for (int head = 0; head < keyValueHeads; head++)
                {
                    int at = cache.InPages(sequence, position, head);
                    float step = steps[at / size];
                    for (int i = 0; i < size; i++)
                    {
                        float given = isValue ? cache.Value(sequence, position, head, i) : cache.Key(sequence, position, head, i), stands = packed[at + i] * step;
                        wrong += Math.Abs(stands - given) <= (0.501f * step) && half[at + i] == (float)(Half)stands ? 0 : 1;
                    }
                }
            }

            Expect(wrong == 0, $"{what}: {wrong} {(isValue ? "values" : "keys")} are not packed as they should be");
        }

        uint[] positions = [.. lengths.Select(static length => (uint)length - 1), DecoderRow.Inactive], sequences = [.. Enumerable.Range(0, lengths.Length + 1).Select(row => (uint)(row % lengths.Length))];
        int rows = positions.Length;
        ulong queries = data.Upload(DeviceData.Random(new Random(heads), rows * width, 1.5f), ElementFormat.Float16, out _);
        ulong positionsAt = data.Upload(positions), sequencesAt = data.Upload(sequences);
        workspace.Reserve(rows, heads, size);
        ushort[] Attend(int first, int count, int longest, CudaInt8Pages? from, bool settled = false)
        {
            ulong output = data.Allocate(count * width * 2);
            kernels.AttentionDecode(
                stream, count, shape, new(queries + (ulong)(first * width * 2), width, size), default, default, positionsAt + (ulong)(first * 4), sequencesAt + (ulong)(first * 4), cache.Pages, longest, Half16(output, width), workspace, from, settled);
            return data.Read<ushort>(output, count * width);
        }

        ushort[] got = Attend(0, rows, lengths.Max(), int8);
        double[] want = Array.ConvertAll(Attend(0, rows, lengths.Max(), null), static bits => (double)BitConverter.UInt16BitsToHalf(bits));

        // The float16 pages round what the int8 values stand for: keys of up to 1.5 by 2^-11, in scores that add some dozens of them.
        Compare($"{what}: attention", Array.ConvertAll(got, static bits => (float)BitConverter.UInt16BitsToHalf(bits)), want, i => Half16(want[i]) + 4e-3);
        for (int row = 0; row < lengths.Length; row++)
        {
            // What was packed has been read, so it is complete: the kernel need not wait for it.
            Same($"{what}: row {row} alone", Attend(row, 1, lengths[row], int8, settled: row % 2 == 0), got[(row * width)..((row + 1) * width)]);
        }

        float[] keys = cache.ReadKeys(), stored = cache.ReadValues();
        CudaKeyValuePages widened = cache.Pages with { Keys = data.Allocate(elements * 2), Values = data.Allocate(elements * 2) };
        for (int sequence = 0; sequence < lengths.Length; sequence++)
        {
            kernels.WidenCache(stream, sequence, lengths[sequence], shape, widened, int8);
        }

        float[] wideKeys = data.ReadHalves(widened.Keys, elements), wideValues = data.ReadHalves(widened.Values, elements);
        int different = all.Sum(row => Enumerable.Range(0, keyValueHeads).Sum(head =>
        {
            int at = cache.InPages(row.Sequence, row.Position, head);
            return keys.AsSpan(at, size).SequenceEqual(wideKeys.AsSpan(at, size)) && stored.AsSpan(at, size).SequenceEqual(wideValues.AsSpan(at, size)) ? 0 : 1;
        }));
        Expect(different == 0, $"{what}: {different} widened heads differ from what was packed");
    }

    private void Decode(int size, int heads, int keyValueHeads, int[] lengths, int window, bool slopes, bool appends)
    {
        using DeviceData data = new(context, stream);
        using CudaAttentionWorkspace workspace = new(context, stream);
        int rows = lengths.Length + 1;
        int[] hidden = [.. lengths.Select(_ => appends ? 1 : 0)];
        CachedSequences cache = new(data, keyValueHeads, size, lengths, hidden, seed: size + heads);
        Random random = new(heads);
        uint[] positions = [.. lengths.Select(length => (uint)length - 1), DecoderRow.Inactive], sequences = [.. Enumerable.Range(0, rows).Select(row => (uint)(row % lengths.Length))];
        ulong queries = data.Upload(DeviceData.Random(random, rows * heads * size, 1.5f), ElementFormat.Float16, out float[] queryValues);
        float[] slopeValues = [.. Enumerable.Range(0, heads).Select(head => slopes ? MathF.Pow(2, -head - 1) : 0)];
        ulong projected = data.Upload([.. Enumerable.Range(0, rows).SelectMany(row => cache.Row(row % lengths.Length, lengths[row % lengths.Length] - 1)).Select(value => (Half)value)]);
        CudaAttentionShape shape = new(heads, keyValueHeads, size, 1 / MathF.Sqrt(size), window, slopes ? data.Upload(slopeValues) : 0);
        int width = heads * size, keyWidth = keyValueHeads * size;
        ulong output = data.Allocate(rows * width * 2), positionsAt = data.Upload(positions), sequencesAt = data.Upload(sequences);
        workspace.Reserve(rows, heads, size);
        void Queue(int first, int count, int longest, ulong target, bool settled = false) => kernels.AttentionDecode(
            stream,
            count,
            shape,
            new(queries + (ulong)(first * width * 2), width, size),
            appends ? new(projected + (ulong)(first * keyWidth * 4), 2 * keyWidth, size) : default,
            appends ? new(projected + (ulong)(((first * 2) + 1) * keyWidth * 2), 2 * keyWidth, size) : default,
            positionsAt + (ulong)(first * 4),
            sequencesAt + (ulong)(first * 4),
            cache.Pages,
            longest,
            Half16(target, width),
            workspace,
            settled: settled);
        Queue(0, rows, lengths.Max(), output);
        float[] got = data.ReadHalves(output, rows * width);
        double[] want = new double[rows * width];
        for (int row = 0; row < lengths.Length; row++)
        {
            for (int head = 0; head < heads; head++)
            {
                cache.Attend(row, lengths[row] - 1, head / (heads / keyValueHeads), queryValues.AsSpan(((row * heads) + head) * size, size), shape.Scale, window, slopeValues[head])
                    .CopyTo(want, ((row * heads) + head) * size);
            }
        }

        string what = $"decode attention, {heads} heads on {keyValueHeads} of {size}, window {window}, slopes {slopes}, appends {appends}";
        Compare(what, got, want, i => Half16(want[i]) + 2e-5);
        for (int row = 0; row < rows; row++)
        {
            // Alone, in a grid for its own length; what it reads has been there since the results were read.
            ulong alone = data.Allocate(width * 2);
            Queue(row, 1, row < lengths.Length ? lengths[row] : 1, alone, settled: row % 2 == 0);
            Same($"{what}: row {row} alone", data.Read<ushort>(alone, width), data.Read<ushort>(output + (ulong)(row * width * 2), width));
        }

        Expect(data.Read<uint>(workspace.Tickets, rows * heads).All(ticket => ticket == 0), $"{what}: tickets are left");
        if (appends)
        {
            float[] keys = cache.ReadKeys(), values = cache.ReadValues();
            for (int row = 0; row < lengths.Length; row++)
            {
                int at = cache.InPages(row, lengths[row] - 1, keyValueHeads - 1);
                Expect(keys[at + size - 1] == cache.Key(row, lengths[row] - 1, keyValueHeads - 1, size - 1), $"{what}: the key of row {row} is not in the cache");
                Expect(values[at] == cache.Value(row, lengths[row] - 1, keyValueHeads - 1, 0), $"{what}: the value of row {row} is not in the cache");
            }
        }
    }

    private void PrefillAttention(bool briefly)
    {
        foreach (int size in briefly ? [80] : HeadSizes)
        {
            foreach ((int heads, int keyValueHeads) in Groups)
            {
                Prefill(size, heads, keyValueHeads, window: 0, slopes: false);
                Prefill(size, heads, keyValueHeads, window: 70, slopes: true);
            }
        }
    }

    /// <summary>A prompt from its start, later chunks of other sequences, one of them behind more pages than a warp looks up at once, and a single query, in tiles as large as they go and in small ones.</summary>
    private void Prefill(int size, int heads, int keyValueHeads, int window, bool slopes)
    {
        using DeviceData data = new(context, stream);
        (int Sequence, int First, int Count)[] chunks = [(0, 0, 150), (1, 100, 70), (2, 33, 1), (3, 250, 262), (4, 2100, 130)];
        int[] lengths = [.. chunks.Select(chunk => chunk.First + chunk.Count)];
        CachedSequences cache = new(data, keyValueHeads, size, lengths, new int[lengths.Length], seed: size + heads);
        int rows = chunks.Sum(chunk => chunk.Count), width = heads * size;
        ulong queries = data.Upload(DeviceData.Random(new Random(size), rows * width, 1.5f), ElementFormat.Float16, out float[] queryValues);
        float[] slopeValues = [.. Enumerable.Range(0, heads).Select(head => slopes ? MathF.Pow(2, -head - 1) : 0)];
        CudaAttentionShape shape = new(heads, keyValueHeads, size, 1 / MathF.Sqrt(size), window, slopes ? data.Upload(slopeValues) : 0);
        ushort[] Attend(int tileRows)
        {
            List<CudaAttentionTile> tiles = [new(0, 0, 0, 0)];
            int row = 0;
            foreach ((int sequence, int first, int count) in chunks)
            {
                for (int done = 0; done < count; done += tileRows)
                {
                    tiles.Add(new((uint)(row + done), (uint)Math.Min(tileRows, count - done), (uint)sequence, (uint)(first + done)));
                }

                row += count;
            }

            ulong output = data.Allocate(rows * width * 2);
            kernels.AttentionPrefill(stream, data.Upload([.. tiles]), tiles.Count, shape, new(queries, width, size), cache.Pages, Half16(output, width));
            return data.Read<ushort>(output, rows * width);
        }

        ushort[] got = Attend(DecoderRow.TileQueries);
        double[] want = new double[rows * width];
        int at = 0;
        foreach ((int sequence, int first, int count) in chunks)
        {
            for (int i = 0; i < count; i++, at++)
            {
                for (int head = 0; head < heads; head++)
                {
                    cache.Attend(sequence, first + i, head / (heads / keyValueHeads), queryValues.AsSpan(((at * heads) + head) * size, size), shape.Scale, window, slopeValues[head])
                        .CopyTo(want, ((at * heads) + head) * size);
                }
            }
        }

        string what = $"prefill attention, {heads} heads on {keyValueHeads} of {size}, window {window}, slopes {slopes}";

        // The weights are rounded to f16 before they meet the values, which are at most 2.
        Compare(what, Array.ConvertAll(got, bits => (float)BitConverter.UInt16BitsToHalf(bits)), want, i => Half16(want[i]) + 1.2e-3);
        Same($"{what}: in tiles of 23", Attend(23), got);
    }
}
