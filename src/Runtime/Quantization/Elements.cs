using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace KernelGen.Quantization;

/// <summary>The element types that activations, weights and results may have, converted to and from float32 row by row.</summary>
internal static class Elements
{
    /// <summary>Throws unless T is float, <see cref="Half"/> or <see cref="BFloat16"/>.</summary>
    public static void ThrowIfUnsupported<T>()
        where T : unmanaged
    {
        if (typeof(T) != typeof(float) && typeof(T) != typeof(Half) && typeof(T) != typeof(BFloat16))
        {
            throw new NotSupportedException($"Elements of type {typeof(T)} are not supported; use float, Half or BFloat16.");
        }
    }

    /// <summary>The device's word for a supported type.</summary>
    public static ElementFormat FormatOf<T>()
        where T : unmanaged =>
        typeof(T) == typeof(float) ? ElementFormat.Float32 : typeof(T) == typeof(Half) ? ElementFormat.Float16 : ElementFormat.BFloat16;

    /// <summary>Widens to float32, exactly.</summary>
    public static void ToSingle<T>(ReadOnlySpan<T> source, Span<float> destination)
        where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            MemoryMarshal.Cast<T, float>(source).CopyTo(destination);
        }
        else if (typeof(T) == typeof(Half))
        {
            TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<T, Half>(source), destination);
        }
        else
        {
            ReadOnlySpan<BFloat16> values = MemoryMarshal.Cast<T, BFloat16>(source);
            for (int i = 0; i < values.Length; i++)
            {
                destination[i] = values[i];
            }
        }
    }

    /// <summary>Rounds from float32 to the nearest, ties to even.</summary>
    public static void FromSingle<T>(ReadOnlySpan<float> source, Span<T> destination)
        where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            source.CopyTo(MemoryMarshal.Cast<T, float>(destination));
        }
        else if (typeof(T) == typeof(Half))
        {
            TensorPrimitives.ConvertToHalf(source, MemoryMarshal.Cast<T, Half>(destination));
        }
        else
        {
            Span<BFloat16> values = MemoryMarshal.Cast<T, BFloat16>(destination);
            for (int i = 0; i < source.Length; i++)
            {
                values[i] = (BFloat16)source[i];
            }
        }
    }
}
