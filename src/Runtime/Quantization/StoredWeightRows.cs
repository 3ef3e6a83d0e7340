using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KernelGen.Quantization;

/// <summary>
/// Absmax quantization of a row of weights straight from its stored type. A conversion streams gigabytes through these two loops, so they
/// never leave the registers: the largest magnitude is found on the bits, and widening, scaling, rounding and narrowing are one pass.
/// </summary>
internal static class StoredWeightRows
{
    private const int HalfInfinity = 0x7C00;

    private const int BrainInfinity = 0x7F80;

    private const int SingleInfinity = 0x7F800000;

    /// <summary>Takes the bits of a half, shifted to where float32 has exponent and fraction, to the half's value: exactly, subnormals too.</summary>
    private const float HalfBias = 5.192296858534828e33f; // 2^112

    /// <summary>
    /// 1.5 * 2^23: float32 has steps of 1 there, so adding it rounds to a whole number, half to even, whose two's complement is then in the
    /// low bits.
    /// </summary>
    private const float Rounder = 12582912f;

    /// <summary>A row's largest magnitude; infinity or NaN if any value is not finite.</summary>
    /// <typeparam name="T">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    public static float Absmax<T>(ReadOnlySpan<T> row)
        where T : unmanaged
    {
        // Without its sign, a floating-point number's bits order as the number does; infinity and NaN come last.
        if (typeof(T) == typeof(float))
        {
            int bits = LargestMagnitude(MemoryMarshal.Cast<T, int>(row), int.MaxValue);
            return bits >= SingleInfinity ? float.PositiveInfinity : BitConverter.Int32BitsToSingle(bits);
        }

        short narrow = LargestMagnitude(MemoryMarshal.Cast<T, short>(row), short.MaxValue);
        if (typeof(T) == typeof(Half))
        {
            return narrow >= HalfInfinity ? float.PositiveInfinity : (float)BitConverter.Int16BitsToHalf(narrow);
        }

        return narrow >= BrainInfinity ? float.PositiveInfinity : new BFloat16((ushort)narrow);
    }

    /// <summary>Quantizes a row: q = round(x * 127 / absmax), half to even.</summary>
    /// <typeparam name="T">float, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="row">Finite values.</param>
    /// <param name="absmax">At least the row's largest magnitude.</param>
    /// <param name="quantized">As many values.</param>
    public static void Quantize<T>(ReadOnlySpan<T> row, float absmax, Span<sbyte> quantized)
        where T : unmanaged
    {
        (float prescale, float scale) = AbsmaxScaling.Symmetric(absmax);
        float halfScale = scale * HalfBias;
        if (prescale != 1 || (typeof(T) == typeof(Half) && !float.IsFinite(halfScale)))
        {
            // Tiny magnitudes, where one factor alone would leave the range of float32.
            QuantizeTiny(row, prescale, scale, quantized);
            return;
        }

        quantized = quantized[..row.Length];
        ref T source = ref MemoryMarshal.GetReference(row);
        ref sbyte destination = ref MemoryMarshal.GetReference(quantized);
        Vector<float> factor = new(typeof(T) == typeof(Half) ? halfScale : scale);
        int block = Vector<sbyte>.Count, part = Vector<float>.Count;
        int i = 0;
        for (; i <= row.Length - block; i += block)
        {
            Vector<short> low, high;
            if (typeof(T) == typeof(float))
            {
                ref float values = ref Unsafe.As<T, float>(ref Unsafe.Add(ref source, i));
                low = Vector.Narrow(Round(Load(ref values, 0), factor), Round(Load(ref values, part), factor));
                high = Vector.Narrow(Round(Load(ref values, 2 * part), factor), Round(Load(ref values, 3 * part), factor));
            }
            else
            {
                ref short values = ref Unsafe.As<T, short>(ref Unsafe.Add(ref source, i));
                low = Round16<T>(Vector.LoadUnsafe(ref values), factor);
                high = Round16<T>(Vector.LoadUnsafe(ref values, (nuint)(2 * part)), factor);
            }

            Vector.Narrow(low, high).StoreUnsafe(ref destination, (nuint)i);
        }

        for (; i < row.Length; i++)
        {
            quantized[i] = (sbyte)MathF.Round(ToSingle(row[i]) * scale, MidpointRounding.ToEven);
        }
    }

    private static TBits LargestMagnitude<TBits>(ReadOnlySpan<TBits> row, TBits withoutSign)
        where TBits : unmanaged, IBinaryInteger<TBits>
    {
        ref TBits source = ref MemoryMarshal.GetReference(row);
        Vector<TBits> mask = new(withoutSign), largest = Vector<TBits>.Zero, other = Vector<TBits>.Zero;
        int count = Vector<TBits>.Count, i = 0;
        for (; i <= row.Length - (2 * count); i += 2 * count)
        {
            largest = Vector.Max(largest, Vector.LoadUnsafe(ref source, (nuint)i) & mask);
            other = Vector.Max(other, Vector.LoadUnsafe(ref source, (nuint)(i + count)) & mask);
        }

        largest = Vector.Max(largest, other);
        TBits result = TBits.Zero;
        for (int lane = 0; lane < count; lane++)
        {
            result = TBits.Max(result, largest[lane]);
        }

        for (; i < row.Length; i++)
        {
            result = TBits.Max(result, row[i] & withoutSign);
        }

        return result;
    }

    private static Vector<float> Load(ref float values, int index) => Vector.LoadUnsafe(ref values, (nuint)index);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<int> Round(Vector<float> values, Vector<float> factor) => Vector.AsVectorInt32((values * factor) + new Vector<float>(Rounder));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<short> Round16<T>(Vector<short> bits, Vector<float> factor)
    {
        Vector.Widen(bits, out Vector<int> low, out Vector<int> high);
        if (typeof(T) == typeof(Half))
        {
            // Sign-extended: the sign is in the top bit, exponent and fraction where float32 has them.
            Vector<int> mask = new(unchecked((int)0x8FFFE000));
            low = (low << 13) & mask;
            high = (high << 13) & mask;
        }
        else
        {
            low <<= 16;
            high <<= 16;
        }

        return Vector.Narrow(Round(Vector.AsVectorSingle(low), factor), Round(Vector.AsVectorSingle(high), factor));
    }

    private static void QuantizeTiny<T>(ReadOnlySpan<T> row, float prescale, float scale, Span<sbyte> quantized)
        where T : unmanaged
    {
        for (int i = 0; i < row.Length; i++)
        {
            quantized[i] = (sbyte)MathF.Round((ToSingle(row[i]) * prescale) * scale, MidpointRounding.ToEven);
        }
    }

    private static float ToSingle<T>(T value) => value switch
    {
        Half half => (float)half,
        BFloat16 brain => brain,
        float single => single,
        _ => throw new NotSupportedException($"Weights of type {typeof(T)} are not supported; use float, Half or BFloat16."),
    };
}
