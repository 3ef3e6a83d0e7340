using System.Runtime.InteropServices;
using KernelGen.Backends.Ilgpu;
using KernelGen.Kernels.Gpu;

namespace KernelGen.Kernels.Ilgpu;

/// <summary>Inputs of one shape, drawn so that every rule of the numeric contract has something to do, and their weights on the accelerator.</summary>
internal sealed class IlgpuCase : IDisposable
{
    private readonly int[] fixedColumns;

    /// <param name="accelerator">The device.</param>
    /// <param name="set">Quantizes the weights; its spec decides what the oracle expects.</param>
    /// <param name="m">Rows.</param>
    /// <param name="n">Output features.</param>
    /// <param name="k">Input features.</param>
    /// <param name="format">The activations' type.</param>
    /// <param name="originals">Whether the weights of outlier columns that are found are the original ones, in the same type.</param>
    public IlgpuCase(IlgpuAccelerator accelerator, Int8KernelSet set, int m, int n, int k, ElementFormat format, bool originals)
    {
        (M, N, K, Format, Set) = (m, n, k, format, set);
        Random random = new(m + n);
        A = new float[m * k];
        for (int i = 0; i < A.Length; i++)
        {
            float x = (random.NextSingle() * 8) - 4;
            int column = i % k;
            x *= (column + m + n) % 37 == 5 && random.Next(4) == 0 ? 20 : 1;
            A[i] = k > 300 && (column + m + n) % 97 == 11 && random.Next(64) == 0 ? -50 : x;
        }

        if (m > 5)
        {
            A.AsSpan(2 * k, k).Clear();
            A.AsSpan(4 * k, k).Fill(1e-6f);
            A[(3 * k) + (k / 2)] = float.NaN;
            A[(5 * k) + k - 1] = float.PositiveInfinity;
            A[(5 * k) + 7] = 1000;
        }

        A = Decode(Encode(A, format), format);
        float[] weights = new float[n * k];
        for (int i = 0; i < weights.Length; i++)
        {
            weights[i] = (random.NextSingle() - 0.5f) * 0.1f;
        }

        weights = Decode(Encode(weights, format), format);
        bool isFixed = set.Spec.Outliers == OutlierPolicy.Fixed;
        fixedColumns = isFixed ? [.. Enumerable.Range(0, k).Where(column => column % 37 == 5)] : [];
        Weights = set.Quantize<float>(weights, n, k, new WeightQuantizationOptions { FixedOutlierColumns = isFixed ? fixedColumns : null });
        bool keeps = originals && set.Spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements;
        Originals = isFixed || keeps ? weights : null;
        Quantized = new sbyte[n * k];
        for (int row = 0; row < n; row++)
        {
            Weights.CopyQuantizedRow(row, Quantized.AsSpan(row * k, k));
        }

        OnDevice = IlgpuInt8Weights.Upload(accelerator, Weights, keeps ? new Source(weights, n, k, format) : null);
        Bias = [.. Enumerable.Range(0, n).Select(_ => random.NextSingle() - 0.5f)];
    }

    public Int8KernelSet Set { get; }

    public int M { get; }

    public int N { get; }

    public int K { get; }

    public ElementFormat Format { get; }

    public float[] A { get; }

    public sbyte[] Quantized { get; }

    public float[] Bias { get; }

    public float[]? Originals { get; }

    public Int8Weights Weights { get; }

    public IlgpuInt8Weights OnDevice { get; }

    /// <summary>Results in float32 before the activation function.</summary>
    public float[] Expected(bool withBias)
    {
        CudaOracle oracle = new(Set.Spec, A, M, K, fixedColumns);
        float[] steps = Array.ConvertAll(Weights.Absmax.ToArray(), absmax => Quantization.AbsmaxScaling.Step(absmax));
        float[] result = new float[M * N];
        Parallel.For(0, M, m =>
        {
            for (int n = 0; n < N; n++)
            {
                result[(m * N) + n] = oracle.Result(A, m, Quantized, steps, n, Originals, withBias ? Bias : null);
            }
        });
        return result;
    }

    /// <summary>Multiplies some rows with one kernel, by the public way from host array to host array, into rows that lie apart.</summary>
    public byte[] Multiply(IlgpuInt8MatMul matMul, ElementFormat output, Activation activation, IlgpuKernelVariant kernel, bool withBias = true, int firstRow = 0, int? rows = null)
    {
        byte[] a = Encode(A.AsSpan(firstRow * K, (rows ?? M) * K).ToArray(), Format);
        return Format switch
        {
            ElementFormat.Float16 => Multiply<Half>(matMul, a, output, activation, kernel, withBias, rows ?? M),
            ElementFormat.BFloat16 => Multiply<BFloat16>(matMul, a, output, activation, kernel, withBias, rows ?? M),
            _ => Multiply<float>(matMul, a, output, activation, kernel, withBias, rows ?? M),
        };
    }

    public void Dispose()
    {
        OnDevice.Dispose();
        Weights.Dispose();
    }

    public static byte[] Encode(float[] values, ElementFormat format) => format switch
    {
        ElementFormat.Float32 => MemoryMarshal.AsBytes<float>(values).ToArray(),
        ElementFormat.Float16 => MemoryMarshal.AsBytes<Half>(Array.ConvertAll(values, value => (Half)value)).ToArray(),
        _ => MemoryMarshal.AsBytes<BFloat16>(Array.ConvertAll(values, value => (BFloat16)value)).ToArray(),
    };

    public static float[] Decode(byte[] values, ElementFormat format) => format switch
    {
        ElementFormat.Float32 => MemoryMarshal.Cast<byte, float>(values).ToArray(),
        ElementFormat.Float16 => Array.ConvertAll(MemoryMarshal.Cast<byte, Half>(values).ToArray(), value => (float)value),
        _ => Array.ConvertAll(MemoryMarshal.Cast<byte, BFloat16>(values).ToArray(), value => (float)value),
    };

    private byte[] Multiply<T>(IlgpuInt8MatMul matMul, byte[] a, ElementFormat output, Activation activation, IlgpuKernelVariant kernel, bool withBias, int rows)
        where T : unmanaged => output switch
        {
            ElementFormat.Float16 => Multiply<T, Half>(matMul, a, activation, kernel, withBias, rows),
            ElementFormat.BFloat16 => Multiply<T, BFloat16>(matMul, a, activation, kernel, withBias, rows),
            _ => Multiply<T, float>(matMul, a, activation, kernel, withBias, rows),
        };

    private byte[] Multiply<TIn, TOut>(IlgpuInt8MatMul matMul, byte[] a, Activation activation, IlgpuKernelVariant kernel, bool withBias, int rows)
        where TIn : unmanaged
        where TOut : unmanaged
    {
        TOut[] result = new TOut[rows * N];
        matMul.MatMul<TIn, TOut>(
            MemoryMarshal.Cast<byte, TIn>(a), rows, OnDevice, result, withBias ? Bias : default, new MatMulOptions { Activation = activation }, kernel);
        return MemoryMarshal.AsBytes<TOut>(result).ToArray();
    }

    private sealed class Source(float[] weights, int n, int k, ElementFormat format) : WeightSource("originals", n, k)
    {
        public override Type ElementType => format switch { ElementFormat.Float16 => typeof(Half), ElementFormat.BFloat16 => typeof(BFloat16), _ => typeof(float) };

        public override long Bytes => weights.Length * 4L;

        public override void ReadRow(int row, Span<float> destination) => weights.AsSpan(row * Columns, Columns).CopyTo(destination);

        public override void ReadColumn(int column, int firstRow, Span<float> destination)
        {
            for (int i = 0; i < destination.Length; i++)
            {
                destination[i] = weights[((firstRow + i) * Columns) + column];
            }
        }
    }
}
