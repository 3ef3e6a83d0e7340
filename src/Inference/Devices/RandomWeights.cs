using System.Numerics.Tensors;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>
/// Parameters for measuring shapes of models that nobody has at hand: normally distributed float16 weights, and six outlier features in every norm, as
/// models from 6.7 billion parameters on have them (arXiv 2208.07339, section 4). They go to the device the way that a checkpoint's do.
/// </summary>
internal sealed unsafe class RandomWeights : DecoderWeights
{
    /// <summary>More than any cache: weights that repeat must not be read from one.</summary>
    private const int NoiseValues = 1 << 25;

    private const int PartBytes = 2 << 20;

    private static readonly float[] OutlierBiases = [-60, -45, -40, -35, 28, -23];

    private readonly Half[] _noise = GC.AllocateUninitializedArray<Half>(NoiseValues, pinned: true);

    private long _next;

    public RandomWeights(DecoderDescription description, int seed = 1)
    {
        // Rows of about unit length: activations keep their magnitude from layer to layer.
        float deviation = 1 / MathF.Sqrt(description.HiddenSize);
        const int Block = 1 << 16;
        _ = Parallel.For(0, NoiseValues / Block, block =>
        {
            Random random = new(seed + block);
            Span<float> values = stackalloc float[256];
            for (int first = 0; first < Block; first += values.Length)
            {
                for (int i = 0; i < values.Length; i += 2)
                {
                    (double sine, double cosine) = Math.SinCos(2 * Math.PI * random.NextDouble());
                    double radius = deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
                    (values[i], values[i + 1]) = ((float)(radius * cosine), (float)(radius * sine));
                }

                TensorPrimitives.ConvertToHalf(values, _noise.AsSpan((block * Block) + first, values.Length));
            }
        });
    }

    public override ElementFormat? FormatOf(LinearDescription layer) => ElementFormat.Float16;

    public override void ReadRows(LinearDescription layer, int firstRow, int rows, byte* destination) =>
        Fill(destination, (long)rows * layer.InputFeatures * sizeof(ushort));

    public override IReadOnlyList<float> AbsmaxOf(LinearDescription layer) => throw new InvalidOperationException("Random weights are not stored in int8.");

    public override float[]? BiasOf(LinearDescription layer) => layer.HasBias ? new float[layer.OutputFeatures] : null;

    public override (float[]? Weight, float[]? Bias) NormOf(NormDescription norm)
    {
        float[]? weight = norm.IsAffine ? new float[norm.Size] : null, bias = norm.HasBias ? new float[norm.Size] : null;
        weight?.AsSpan().Fill(1);
        for (int i = 0; i < OutlierBiases.Length; i++)
        {
            int column = (int)((i + 0.5) * norm.Size / OutlierBiases.Length);
            if (bias is not null)
            {
                bias[column] = OutlierBiases[i];
            }
            else if (weight is not null)
            {
                weight[column] = OutlierBiases[i];
            }
        }

        return (weight, bias);
    }

    public override void ReadTable(EmbeddingDescription table, bool isOutput, int firstRow, int rows, Half* destination) =>
        Fill((byte*)destination, (long)rows * table.Size * sizeof(ushort));

    public override Exception NotFinite(LinearDescription layer, int row) => new InvalidOperationException($"Row {row} of random weights is not finite.");

    public override void Dispose()
    {
    }

    private void Fill(byte* destination, long bytes)
    {
        const long NoiseBytes = (long)NoiseValues * sizeof(ushort);
        long start = _next;
        _next = (start + bytes) % NoiseBytes;
        byte* noise = (byte*)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(_noise, 0);
        _ = Parallel.For(0, (bytes + PartBytes - 1) / PartBytes, part =>
        {
            long first = part * PartBytes, end = Math.Min(bytes, first + PartBytes);
            while (first < end)
            {
                long from = (start + first) % NoiseBytes, length = Math.Min(end - first, NoiseBytes - from);
                Buffer.MemoryCopy(noise + from, destination + first, length, length);
                first += length;
            }
        });
    }
}
