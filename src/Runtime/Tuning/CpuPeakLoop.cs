using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using KernelGen.Backends.Cpu;

namespace KernelGen.Tuning;

/// <summary>A loop that does nothing but multiply and add on registers, by one instruction: how fast a core can be.</summary>
/// <param name="Name">The instruction.</param>
/// <param name="OperationsPerRound">Multiplications and additions a round, counted as two.</param>
/// <param name="Run">So many rounds.</param>
internal sealed record CpuPeakLoop(string Name, int OperationsPerRound, Action<int> Run)
{
    /// <summary>Independent sums: more than the latency of any of these instructions times their throughput, fewer than 16 registers.</summary>
    private const int Sums = 12;

    /// <summary>One step of a sum.</summary>
    private interface IStep<T>
    {
        T Next(T sum);
    }

    /// <summary>The instructions that int8 kernels multiply with, of those that this processor has.</summary>
    public static IEnumerable<CpuPeakLoop> Int8()
    {
        yield return Of("scalar", 1, new ScalarInt(3), 1);
        if (Avx2.IsSupported)
        {
            yield return Of("vpmaddwd, 256 bits", 16, new Words256(Vector256.Create((short)3)), Vector256<int>.One);
            yield return Of("vpmaddubsw, 256 bits", 32, new Bytes256(Vector256.Create((byte)3)), Vector256<int>.One);
        }

        if (Avx512BW.IsSupported)
        {
            yield return Of("vpmaddwd, 512 bits", 32, new Words512(Vector512.Create((short)3)), Vector512<int>.One);
        }

        if (AvxVnni.IsSupported)
        {
            yield return Of("vpdpbusd, 256 bits", 32, new Vnni256(Vector256.Create((byte)3), Vector256<sbyte>.One), Vector256<int>.One);
        }

        if (CpuFeatures.Supports(CpuInstructionSet.Avx512Vnni))
        {
            yield return new CpuPeakLoop("vpdpbusd, 512 bits", 2 * CpuPeakCode.VectorProducts, CpuPeakCode.RunVectors);
        }

        if (CpuFeatures.Supports(CpuInstructionSet.Amx))
        {
            yield return new CpuPeakLoop("tdpbusd, tiles of 16 x 64", 2 * CpuPeakCode.TileProducts, CpuPeakCode.RunTiles);
        }

        if (Dp.IsSupported)
        {
            yield return Of("sdot, 128 bits", 16, new Dot128(Vector128<sbyte>.One), Vector128<int>.One);
        }
    }

    /// <summary>Fused multiplication and addition in float32, for every vector width that this processor has.</summary>
    public static IEnumerable<CpuPeakLoop> Float32()
    {
        yield return Of("scalar", 1, new ScalarFloat(0.5f), 1f);
        if (Vector128.IsHardwareAccelerated)
        {
            yield return Of("fma, 128 bits", 4, new Fma128(Vector128.Create(0.5f)), Vector128<float>.One);
        }

        if (Vector256.IsHardwareAccelerated)
        {
            yield return Of("fma, 256 bits", 8, new Fma256(Vector256.Create(0.5f)), Vector256<float>.One);
        }

        if (Vector512.IsHardwareAccelerated)
        {
            yield return Of("fma, 512 bits", 16, new Fma512(Vector512.Create(0.5f)), Vector512<float>.One);
        }
    }

    private static CpuPeakLoop Of<T, TStep>(string name, int products, TStep step, T start)
        where T : struct
        where TStep : struct, IStep<T> => new(name, 2 * products * Sums, rounds => Keep(Loop(rounds, step, start)));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static (T, T, T, T, T, T, T, T, T, T, T, T) Loop<T, TStep>(int rounds, TStep step, T start)
        where T : struct
        where TStep : struct, IStep<T>
    {
        T a = start, b = start, c = start, d = start, e = start, f = start, g = start, h = start, i = start, j = start, k = start, l = start;
        for (int round = 0; round < rounds; round++)
        {
            a = step.Next(a);
            b = step.Next(b);
            c = step.Next(c);
            d = step.Next(d);
            e = step.Next(e);
            f = step.Next(f);
            g = step.Next(g);
            h = step.Next(h);
            i = step.Next(i);
            j = step.Next(j);
            k = step.Next(k);
            l = step.Next(l);
        }

        return (a, b, c, d, e, f, g, h, i, j, k, l);
    }

    /// <summary>A loop whose result nobody takes would be left out.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Keep<T>(T sums) => _ = sums;

    private readonly struct ScalarInt(int x) : IStep<int>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public int Next(int sum) => (sum * x) + 1;
    }

    private readonly struct Words256(Vector256<short> x) : IStep<Vector256<int>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<int> Next(Vector256<int> sum) => Avx2.Add(sum, Avx2.MultiplyAddAdjacent(x, sum.AsInt16()));
    }

    private readonly struct Bytes256(Vector256<byte> x) : IStep<Vector256<int>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<int> Next(Vector256<int> sum) =>
            Avx2.Add(sum, Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(x, sum.AsSByte()), Vector256<short>.One));
    }

    private readonly struct Words512(Vector512<short> x) : IStep<Vector512<int>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector512<int> Next(Vector512<int> sum) => Avx512F.Add(sum, Avx512BW.MultiplyAddAdjacent(x, sum.AsInt16()));
    }

    private readonly struct Vnni256(Vector256<byte> x, Vector256<sbyte> y) : IStep<Vector256<int>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<int> Next(Vector256<int> sum) => AvxVnni.MultiplyWideningAndAdd(sum, x, y);
    }

    private readonly struct Dot128(Vector128<sbyte> x) : IStep<Vector128<int>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector128<int> Next(Vector128<int> sum) => Dp.DotProduct(sum, x, x);
    }

    private readonly struct ScalarFloat(float x) : IStep<float>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public float Next(float sum) => MathF.FusedMultiplyAdd(sum, x, x);
    }

    private readonly struct Fma128(Vector128<float> x) : IStep<Vector128<float>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector128<float> Next(Vector128<float> sum) => Vector128.FusedMultiplyAdd(sum, x, x);
    }

    private readonly struct Fma256(Vector256<float> x) : IStep<Vector256<float>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<float> Next(Vector256<float> sum) => Vector256.FusedMultiplyAdd(sum, x, x);
    }

    private readonly struct Fma512(Vector512<float> x) : IStep<Vector512<float>>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector512<float> Next(Vector512<float> sum) => Vector512.FusedMultiplyAdd(sum, x, x);
    }
}
