using System.Numerics.Tensors;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Devices;

/// <summary>Stored values to float16, which the device multiplies by where it does not multiply in int8.</summary>
internal static unsafe class HalfConversion
{
    private const int Block = 4096;

    private const float Largest = 65504;

    /// <summary>Rounds values of another type, from the first to the last: the destination may be the source, since halves are no larger.</summary>
    /// <param name="format">The type.</param>
    /// <param name="source">The values.</param>
    /// <param name="destination">Receives them.</param>
    /// <param name="count">How many.</param>
    /// <param name="name">What errors call the tensor.</param>
    /// <exception cref="CheckpointException">A finite value exceeds the range of float16.</exception>
    public static void Convert(ElementFormat format, byte* source, Half* destination, int count, string name)
    {
        int size = format == ElementFormat.Float32 ? sizeof(float) : sizeof(ushort);
        Span<float> block = stackalloc float[Block];
        for (int first = 0; first < count; first += Block)
        {
            Span<float> values = block[..Math.Min(Block, count - first)];
            Widen(format, source + ((long)first * size), values);
            if (TensorPrimitives.MaxMagnitude(values) is > Largest and < float.PositiveInfinity)
            {
                throw new CheckpointException(
                    $"{name}: a value exceeds {Largest}, the range of float16, which the device computes in. Run this model on the processor.");
            }

            TensorPrimitives.ConvertToHalf(values, new Span<Half>(destination + first, values.Length));
        }
    }

    /// <summary>Widens values to float32.</summary>
    public static void Widen(ElementFormat format, byte* source, Span<float> destination)
    {
        switch (format)
        {
            case ElementFormat.Float32:
                new ReadOnlySpan<float>(source, destination.Length).CopyTo(destination);
                break;
            case ElementFormat.Float16:
                TensorPrimitives.ConvertToSingle(new ReadOnlySpan<Half>(source, destination.Length), destination);
                break;
            default:
                KernelGen.Quantization.Elements.ToSingle(new ReadOnlySpan<BFloat16>(source, destination.Length), destination);
                break;
        }
    }
}
