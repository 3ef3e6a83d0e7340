using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace KernelGen.Backends.Cpu;

/// <summary>
/// The few operations that the float kernels need of a vector of float32, so that one kernel body serves every width: the JIT compiles it
/// anew for each struct that implements this, and every call becomes one or a few instructions.
/// </summary>
/// <typeparam name="TVector">The vector of <see cref="Count"/> floats.</typeparam>
internal unsafe interface IFloatLanes<TVector>
    where TVector : struct
{
    /// <summary>Floats per vector.</summary>
    static abstract int Count { get; }

    static abstract TVector Load(float* source);

    /// <summary>Widens <see cref="Count"/> finite halves; the result for an infinity or a NaN is unspecified.</summary>
    static abstract TVector LoadFiniteHalf(ushort* source);

    static abstract TVector LoadBFloat16(ushort* source);

    static abstract TVector LoadInt8(sbyte* source);

    static abstract TVector Broadcast(float value);

    /// <summary><c>a * b + c</c> with one rounding where the processor has it.</summary>
    static abstract TVector MultiplyAdd(TVector a, TVector b, TVector c);

    static abstract TVector Multiply(TVector a, TVector b);

    static abstract TVector Add(TVector a, TVector b);

    static abstract void Store(TVector value, float* destination);
}

/// <summary>
/// Bit patterns of the half-to-float widening. Moving a half's exponent and mantissa to a float's place and adding
/// <see cref="Rebias"/> is right for normal numbers. A subnormal has no implicit leading one, so it is read as if it had one at exponent
/// 2^-14, which is then subtracted. Multiplying by 2^112 instead would be shorter, but feeds float32 subnormals to the multiplier,
/// which costs hundreds of cycles on some processors, and models are full of such weights.
/// </summary>
internal static class HalfBits
{
    public const int SignAndMagnitude = unchecked((int)0x8FFF_E000);
    public const int Sign = unchecked((int)0x8000_0000);
    public const int Exponent = 0x0F80_0000;
    public const int Rebias = 112 << 23;
    public const int SmallestNormal = (127 - 14) << 23;
}

/// <summary>Four floats: NEON, or SSE where AVX2 is absent.</summary>
internal readonly unsafe struct FloatLanes4 : IFloatLanes<Vector128<float>>
{
    public static int Count => Vector128<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(float* source) => Vector128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadFiniteHalf(ushort* source)
    {
        Vector128<int> bits = Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<ulong>(source)).AsInt16());
        bits = (bits << 13) & Vector128.Create(HalfBits.SignAndMagnitude);
        Vector128<int> one = (bits & Vector128.Create(HalfBits.Sign)) | Vector128.Create(HalfBits.SmallestNormal);
        Vector128<float> subnormal = (bits | Vector128.Create(HalfBits.SmallestNormal)).AsSingle() - one.AsSingle();
        Vector128<int> isSubnormal = Vector128.Equals(bits & Vector128.Create(HalfBits.Exponent), Vector128<int>.Zero);
        return Vector128.ConditionalSelect(isSubnormal.AsSingle(), subnormal, (bits + Vector128.Create(HalfBits.Rebias)).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadBFloat16(ushort* source) =>
        (Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<ulong>(source)).AsUInt16()) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadInt8(sbyte* source) => Vector128.ConvertToSingle(
        Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<uint>(source)).AsSByte())));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Broadcast(float value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) =>
        Vector128.MultiplyAddEstimate(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> a, Vector128<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<float> value, float* destination) => value.Store(destination);
}

/// <summary>Eight floats: AVX2.</summary>
internal readonly unsafe struct FloatLanes8 : IFloatLanes<Vector256<float>>
{
    public static int Count => Vector256<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(float* source) => Vector256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadFiniteHalf(ushort* source)
    {
        Vector256<int> bits = Vector256.WidenLower(Vector128.Load((short*)source).ToVector256Unsafe());
        bits = (bits << 13) & Vector256.Create(HalfBits.SignAndMagnitude);
        Vector256<int> one = (bits & Vector256.Create(HalfBits.Sign)) | Vector256.Create(HalfBits.SmallestNormal);
        Vector256<float> subnormal = (bits | Vector256.Create(HalfBits.SmallestNormal)).AsSingle() - one.AsSingle();
        Vector256<int> isSubnormal = Vector256.Equals(bits & Vector256.Create(HalfBits.Exponent), Vector256<int>.Zero);
        return Vector256.ConditionalSelect(isSubnormal.AsSingle(), subnormal, (bits + Vector256.Create(HalfBits.Rebias)).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadBFloat16(ushort* source) =>
        (Vector256.WidenLower(Vector128.Load(source).ToVector256Unsafe()) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadInt8(sbyte* source)
    {
        Vector128<short> halves = Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<ulong>(source)).AsSByte());
        return Vector256.ConvertToSingle(Vector256.WidenLower(halves.ToVector256Unsafe()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Broadcast(float value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) =>
        Vector256.MultiplyAddEstimate(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> a, Vector256<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Add(Vector256<float> a, Vector256<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<float> value, float* destination) => value.Store(destination);
}

/// <summary>Sixteen floats: AVX-512.</summary>
internal readonly unsafe struct FloatLanes16 : IFloatLanes<Vector512<float>>
{
    public static int Count => Vector512<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(float* source) => Vector512.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadFiniteHalf(ushort* source)
    {
        Vector512<int> bits = Vector512.WidenLower(Vector256.Load((short*)source).ToVector512Unsafe());
        bits = (bits << 13) & Vector512.Create(HalfBits.SignAndMagnitude);
        Vector512<int> one = (bits & Vector512.Create(HalfBits.Sign)) | Vector512.Create(HalfBits.SmallestNormal);
        Vector512<float> subnormal = (bits | Vector512.Create(HalfBits.SmallestNormal)).AsSingle() - one.AsSingle();
        Vector512<int> isSubnormal = Vector512.Equals(bits & Vector512.Create(HalfBits.Exponent), Vector512<int>.Zero);
        return Vector512.ConditionalSelect(isSubnormal.AsSingle(), subnormal, (bits + Vector512.Create(HalfBits.Rebias)).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadBFloat16(ushort* source) =>
        (Vector512.WidenLower(Vector256.Load(source).ToVector512Unsafe()) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadInt8(sbyte* source)
    {
        Vector256<short> halves = Vector256.WidenLower(Vector128.Load(source).ToVector256Unsafe());
        return Vector512.ConvertToSingle(Vector512.WidenLower(halves.ToVector512Unsafe()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Broadcast(float value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) =>
        Vector512.MultiplyAddEstimate(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> a, Vector512<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> a, Vector512<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> value, float* destination) => value.Store(destination);
}
