using System.Runtime.InteropServices;
using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>Inputs of one shape on the host and on the device, drawn so that every rule of the numeric contract has something to do.</summary>
internal sealed class CudaCase : IDisposable
{
    private readonly CudaStream stream;
    private readonly CudaBuffer input;
    private readonly CudaBuffer bias;
    private readonly int[] fixedColumns;
    private readonly float[] weights;

    /// <param name="context">The device.</param>
    /// <param name="stream">Where copies are queued.</param>
    /// <param name="set">Quantizes the weights; its spec decides what the oracle expects.</param>
    /// <param name="m">Rows.</param>
    /// <param name="n">Output features.</param>
    /// <param name="k">Input features.</param>
    /// <param name="format">The activations' type.</param>
    /// <param name="seed">Of the values and of where the outliers are.</param>
    /// <param name="activations">[m, k] in place of what is drawn.</param>
    public CudaCase(CudaContext context, CudaStream stream, Int8KernelSet set, int m, int n, int k, ElementFormat format, int seed, float[]? activations = null)
    {
        this.stream = stream;
        (M, N, K, Format, Set) = (m, n, k, format, set);
        Random random = new(seed);
        A = new float[m * k];
        for (int i = 0; i < A.Length; i++)
        {
            float x = (random.NextSingle() * 8) - 4;
            int column = i % k;
            x *= (column + seed) % 37 == 5 && random.Next(4) == 0 ? 20 : 1;
            A[i] = k > 300 && (column + seed) % 97 == 11 && random.Next(64) == 0 ? -50 : x;
        }

        if (m > 5)
        {
            A.AsSpan(2 * k, k).Clear();
            A.AsSpan(4 * k, k).Fill(1e-6f);
            A[(3 * k) + (k / 2)] = float.NaN;
            A[(5 * k) + k - 1] = float.PositiveInfinity;
            A[(5 * k) + 7] = 1000;
        }

        byte[] encoded = Encode(activations ?? A, format);
        A = Decode(encoded, format);
        weights = new float[n * k];
        for (int i = 0; i < weights.Length; i++)
        {
            weights[i] = (random.NextSingle() - 0.5f) * 0.1f;
        }

        fixedColumns = set.Spec.Outliers == OutlierPolicy.Fixed ? [.. Enumerable.Range(0, k).Where(column => column % 37 == 5)] : [];
        Weights = set.Quantize<float>(
            weights, n, k, new WeightQuantizationOptions { FixedOutlierColumns = fixedColumns.Length > 0 || set.Spec.Outliers == OutlierPolicy.Fixed ? fixedColumns : null });
        Originals = set.Spec.Outliers == OutlierPolicy.Fixed ? weights : null;
        Quantized = new sbyte[n * k];
        for (int row = 0; row < n; row++)
        {
            Weights.CopyQuantizedRow(row, Quantized.AsSpan(row * k, k));
        }

        OnDevice = CudaInt8Weights.Upload(Weights, context, stream);
        Bias = new float[n];
        for (int i = 0; i < n; i++)
        {
            Bias[i] = random.NextSingle() - 0.5f;
        }

        // Whole words: the kernels gather 16-bit values by the aligned words around them.
        input = new CudaBuffer(context, (encoded.Length + 3) / 4 * 4);
        input.Fill(0, stream);
        input.Upload<byte>(encoded, stream);
        bias = new CudaBuffer(context, OnDevice.Padded * sizeof(float));
        bias.Fill(0, stream);
        bias.Upload<float>(Bias, stream);
        stream.Synchronize();
    }

    public Int8KernelSet Set { get; }

    public int M { get; }

    public int N { get; }

    public int K { get; }

    public ElementFormat Format { get; }

    public float[] A { get; }

    public sbyte[] Quantized { get; }

    public float[] Bias { get; }

    public float[]? Originals { get; private set; }

    public Int8Weights Weights { get; }

    public CudaInt8Weights OnDevice { get; }

    public ulong BiasAddress => bias.Address;

    public CudaMatrix Input(int firstRow = 0) =>
        new(input.Address + (ulong)((long)firstRow * K * (Format == ElementFormat.Float32 ? 4 : 2)), Format, K);

    /// <summary>From now on outliers are multiplied by the weights as they were, rounded to a type.</summary>
    public void UseOriginals(ElementFormat format)
    {
        byte[] encoded = Encode(weights, format);
        CudaBuffer buffer = new(stream.Context, (encoded.Length + 3) / 4 * 4);
        buffer.Fill(0, stream);
        buffer.Upload<byte>(encoded, stream);
        stream.Synchronize();
        Originals = Decode(encoded, format);
        OnDevice.UseOriginals(buffer, format, K);
    }

    /// <summary>Results in float32 before the activation function.</summary>
    public float[] Expected() => Expected(A, M);

    /// <summary>Those of a row that is multiplied alone.</summary>
    public float[] ExpectedAlone(int row) => Expected(A[(row * K)..((row + 1) * K)], 1);

    /// <summary>How far results of wgmma kernels may be from <see cref="Expected()"/>: tensor cores sum whole columns, where they are few; null where they don't.</summary>
    public float[]? OutlierSlack()
    {
        const int MostColumns = 8, MostUnlistedRows = 64;
        if (Set.Spec.Outliers != OutlierPolicy.Columns || Originals is not null || Format == ElementFormat.Float32 || M <= MostUnlistedRows)
        {
            return null;
        }

        CudaOracle oracle = new(Set.Spec, A, M, K, fixedColumns);
        if (oracle.OutlierColumns is 0 or > MostColumns)
        {
            return null;
        }

        float[] steps = Steps, result = new float[M * N];
        Parallel.For(0, M * N, i => result[i] = oracle.OutlierSlack(A, i / N, Quantized, steps, i % N));
        return result;
    }

    private float[] Steps => Array.ConvertAll(Weights.Absmax.ToArray(), absmax => Quantization.AbsmaxScaling.Step(absmax));

    private float[] Expected(float[] a, int rows)
    {
        CudaOracle oracle = new(Set.Spec, a, rows, K, fixedColumns);
        float[] steps = Steps, result = new float[rows * N];
        Parallel.For(0, rows * N, i => result[i] = oracle.Result(a, i / N, Quantized, steps, i % N, Originals, Bias));
        return result;
    }

    /// <summary>Multiplies some rows with one kernel; the output is poisoned first.</summary>
    public byte[] Multiply(CudaInt8MatMul matMul, CudaMatMulWorkspace workspace, ElementFormat output, Activation activation, CudaKernelVariant? kernel, int firstRow = 0, int? rows = null)
    {
        int count = rows ?? M;
        byte[] result = new byte[count * N * (output == ElementFormat.Float32 ? 4 : 2)];
        using CudaBuffer buffer = new(stream.Context, result.Length);
        buffer.Fill(0x55, stream);
        matMul.Multiply(workspace, Input(firstRow), count, OnDevice, new CudaMatrix(buffer.Address, output, N), BiasAddress, activation, kernel);
        buffer.Download<byte>(result, stream);
        return result;
    }

    public void Dispose()
    {
        input.Dispose();
        bias.Dispose();
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
}
