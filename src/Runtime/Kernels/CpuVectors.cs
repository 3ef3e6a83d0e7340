using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace KernelGen.Kernels;

/// <summary>Vector operations that generated kernels need and the vector API does not have.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static class CpuVectors
{
    /// <summary>Asks for a cache line that is used soon. The address may lie beyond the end of the data.</summary>
    /// <param name="line">Some byte of the line.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe void Prefetch(ref byte line)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch1(Unsafe.AsPointer(ref line));
        }
    }

    /// <summary>Asks for values that are used soon. They may lie beyond the end of the data.</summary>
    /// <param name="first">The first value.</param>
    /// <param name="count">How many.</param>
    internal static void Prefetch<T>(ref T first, int count)
        where T : unmanaged
    {
        ref byte line = ref Unsafe.As<T, byte>(ref first);
        nint bytes = (nint)count * Unsafe.SizeOf<T>();
        for (nint offset = 0; offset < bytes; offset += 64)
        {
            Prefetch(ref Unsafe.AddByteOffset(ref line, offset));
        }

        // Arrays do not begin at a cache line: their last value may lie in one more.
        Prefetch(ref Unsafe.AddByteOffset(ref line, bytes - 1));
    }

    /// <summary>The values of a row from an index on, zeros beyond its end.</summary>
    /// <param name="row">The row.</param>
    /// <param name="index">The first value.</param>
    /// <param name="count">Values of the row.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load128(ref float row, nint index, nint count) =>
        index + Vector128<float>.Count <= count ? Vector128.LoadUnsafe(ref row, (nuint)index) : LoadPart512(ref row, index, count).GetLower().GetLower();

    /// <inheritdoc cref="Load128"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load256(ref float row, nint index, nint count) =>
        index + Vector256<float>.Count <= count ? Vector256.LoadUnsafe(ref row, (nuint)index) : LoadPart512(ref row, index, count).GetLower();

    /// <inheritdoc cref="Load128"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(ref float row, nint index, nint count) =>
        index + Vector512<float>.Count <= count ? Vector512.LoadUnsafe(ref row, (nuint)index) : LoadPart512(ref row, index, count);

    /// <summary>The largest lane.</summary>
    public static int Max(Vector128<int> x)
    {
        x = Vector128.Max(x, Vector128.Shuffle(x, Vector128.Create(2, 3, 0, 1)));
        return Math.Max(x[0], x[1]);
    }

    /// <summary>The largest lane.</summary>
    public static int Max(Vector256<int> x) => Max(Vector128.Max(x.GetLower(), x.GetUpper()));

    /// <summary>The largest lane.</summary>
    public static int Max(Vector512<int> x) => Max(Vector256.Max(x.GetLower(), x.GetUpper()));

    /// <summary>The largest lane of numbers that are no NaN.</summary>
    public static float Max(Vector128<float> x)
    {
        x = Vector128.MaxNative(x, Vector128.Shuffle(x, Vector128.Create(2, 3, 0, 1)));
        return x[1] > x[0] ? x[1] : x[0];
    }

    /// <summary>The largest lane of numbers that are no NaN.</summary>
    public static float Max(Vector256<float> x) => Max(Vector128.MaxNative(x.GetLower(), x.GetUpper()));

    /// <summary>The largest lane of numbers that are no NaN.</summary>
    public static float Max(Vector512<float> x) => Max(Vector256.MaxNative(x.GetLower(), x.GetUpper()));

    /// <summary>The smallest lane of numbers that are no NaN.</summary>
    public static float Min(Vector128<float> x) => -Max(-x);

    /// <summary>The smallest lane of numbers that are no NaN.</summary>
    public static float Min(Vector256<float> x) => -Max(-x);

    /// <summary>The smallest lane of numbers that are no NaN.</summary>
    public static float Min(Vector512<float> x) => -Max(-x);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Vector512<float> LoadPart512(ref float row, nint index, nint count)
    {
        Vector512<float> part = Vector512<float>.Zero;
        for (int i = 0; i < Math.Min(count - index, Vector512<float>.Count); i++)
        {
            part = part.WithElement(i, Unsafe.Add(ref row, index + i));
        }

        return part;
    }
}
