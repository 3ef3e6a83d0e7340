using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>Keys and values of several sequences on the host, and in pages on the device whose order is shuffled and whose rest is NaN.</summary>
internal sealed class CachedSequences
{
    private readonly int maxPages;

    private readonly uint[] table;

    private readonly float[][] keys, values;

    private readonly DeviceData data;

    private readonly ulong keyPages, valuePages, pageTable;

    /// <param name="data">Owns the device's side.</param>
    /// <param name="heads">Heads of keys and values.</param>
    /// <param name="size">Width of a head.</param>
    /// <param name="lengths">Positions per sequence.</param>
    /// <param name="hidden">Positions at a sequence's end that are not in the cache yet.</param>
    /// <param name="seed">Of the values and the pages' order.</param>
    public CachedSequences(DeviceData data, int heads, int size, int[] lengths, int[] hidden, int seed)
    {
        this.data = data;
        (Heads, Size, Lengths) = (heads, size, lengths);
        Random random = new(seed);
        maxPages = lengths.Max(length => (length + 63) / 64) + 1;
        uint[] order = [.. Enumerable.Range(0, (maxPages * lengths.Length) + 3).Select(page => (uint)page)];
        random.Shuffle(order);
        table = [.. order.Take(maxPages * lengths.Length)];
        keys = [.. lengths.Select(length => Rounded(random, length * heads * size, 1.5f))];
        values = [.. lengths.Select(length => Rounded(random, length * heads * size, 2))];
        Half[] keyHost = new Half[order.Length * heads * 64 * size], valueHost = new Half[keyHost.Length];
        Array.Fill(keyHost, Half.NaN);
        Array.Fill(valueHost, Half.NaN);
        for (int sequence = 0; sequence < lengths.Length; sequence++)
        {
            for (int position = 0; position < lengths[sequence] - hidden[sequence]; position++)
            {
                for (int head = 0; head < heads; head++)
                {
                    for (int i = 0; i < size; i++)
                    {
                        keyHost[InPages(sequence, position, head) + i] = (Half)Key(sequence, position, head, i);
                        valueHost[InPages(sequence, position, head) + i] = (Half)Value(sequence, position, head, i);
                    }
                }
            }
        }

        keyPages = data.Upload(keyHost);
        valuePages = data.Upload(valueHost);
        pageTable = data.Upload(table);
        PageElements = keyHost.Length;
    }

    public int Heads { get; }

    public int Size { get; }

    public int[] Lengths { get; }

    public int PageElements { get; }

    public CudaKeyValuePages Pages => new(keyPages, valuePages, pageTable, maxPages, PageElements / (Heads * 64 * Size));

    public float Key(int sequence, int position, int head, int i) => keys[sequence][(((position * Heads) + head) * Size) + i];

    public float Value(int sequence, int position, int head, int i) => values[sequence][(((position * Heads) + head) * Size) + i];

    /// <summary>Index of a head's first dimension in the pages.</summary>
    public int InPages(int sequence, int position, int head) =>
        (((((int)table[(sequence * maxPages) + (position / 64)] * Heads) + head) * 64) + (position % 64)) * Size;

    /// <summary>Keys then values of one position, [2][heads][size], as a projection gives them.</summary>
    public float[] Row(int sequence, int position) =>
    [
        .. keys[sequence].AsSpan(position * Heads * Size, Heads * Size), .. values[sequence].AsSpan(position * Heads * Size, Heads * Size),
    ];

    public float[] ReadKeys() => data.ReadHalves(keyPages, PageElements);

    public float[] ReadValues() => data.ReadHalves(valuePages, PageElements);

    /// <summary>One head's attention at one position, in float64.</summary>
    public double[] Attend(int sequence, int position, int head, ReadOnlySpan<float> query, double scale, int window, double slope)
    {
        int first = window > 0 ? Math.Max(0, position + 1 - window) : 0;
        double[] scores = new double[position + 1 - first], result = new double[Size];
        for (int at = first; at <= position; at++)
        {
            double dot = 0;
            for (int i = 0; i < Size; i++)
            {
                dot += (double)query[i] * Key(sequence, at, head, i);
            }

            scores[at - first] = (dot * scale) - (slope * (position - at));
        }

        double largest = scores.Max(), total = 0;
        for (int at = first; at <= position; at++)
        {
            double weight = Math.Exp(scores[at - first] - largest);
            total += weight;
            for (int i = 0; i < Size; i++)
            {
                result[i] += weight * Value(sequence, at, head, i);
            }
        }

        return Array.ConvertAll(result, value => value / total);
    }

    private static float[] Rounded(Random random, int count, float size) => Array.ConvertAll(DeviceData.Random(random, count, size), value => (float)(Half)value);
}
