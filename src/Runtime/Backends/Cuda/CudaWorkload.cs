using KernelGen.Tuning;

namespace KernelGen.Backends.Cuda;

/// <summary>What of a layer is timed.</summary>
internal enum CudaOperation
{
    /// <summary>Finding outliers and quantizing the activations.</summary>
    Quantize,

    /// <summary>Quantized activations to rounded results.</summary>
    Gemm,

    /// <summary>All of it.</summary>
    Layer,
}

/// <summary>
/// One shape on a device, to run and to time: several sets of weights and activations that a graph goes through, so that weights come from memory as
/// they do in a model. Activations are float16.
/// </summary>
internal sealed class CudaWorkload : IDisposable
{
    /// <summary>Weights, activations and results to go through: several times the second-level cache of GPUs that there are.</summary>
    private const double RotatedBytes = 300e6;

    private const int MostSets = 8;

    /// <summary>A graph's least time, so that its start is small beside it, and the most multiplications it is made of.</summary>
    private const double GraphMicroseconds = 400;

    private const int MostCalls = 16, HalfBytes = 2;

    private readonly CudaContext context;
    private readonly CudaStream stream;
    private readonly CudaInt8MatMul matMul;
    private readonly CudaMatMulWorkspace workspace;
    private readonly List<IDisposable> owned = [];
    private readonly (CudaInt8Weights Weights, CudaMatrix Input, CudaMatrix Output)[] data;
    private readonly Dictionary<string, (CudaGraph Graph, int Calls, double Microseconds)> graphs = [];
    private readonly CudaBuffer firstOutput;
    private CudaBuffer? gathered;
    private readonly CudaEvent start;
    private readonly CudaEvent end;
    private readonly int m;
    private readonly CudaOperation operation;

    /// <param name="context">The device.</param>
    /// <param name="stream">Takes the work.</param>
    /// <param name="matMul">The kernels.</param>
    /// <param name="spec">The numeric settings.</param>
    /// <param name="m">Rows of A.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="outliers">Columns of A that hold outliers.</param>
    /// <param name="output">The results' type.</param>
    /// <param name="operation">What <see cref="Sample"/> times.</param>
    /// <exception cref="CudaException">Out of device memory.</exception>
    public CudaWorkload(
        CudaContext context,
        CudaStream stream,
        CudaInt8MatMul matMul,
        Int8Spec spec,
        int m,
        SyntheticData.Weights weights,
        int[] outliers,
        ElementFormat output,
        CudaOperation operation)
    {
        (this.context, this.stream, this.matMul, this.m, this.operation) = (context, stream, matMul, m, operation);
        try
        {
            int n = weights.Rows, k = weights.Columns;
            workspace = Own(new CudaMatMulWorkspace(context, stream));
            start = Own(new CudaEvent(context));
            end = Own(new CudaEvent(context));
            CudaInt8Weights first = Own(CudaInt8Weights.Upload(weights, spec.Outliers == OutlierPolicy.Fixed ? outliers : [], context, stream));
            CudaBuffer activations = Activations(spec, k, outliers);
            firstOutput = Output(n, output);
            double bytes = ((double)n * k) + activations.Bytes + firstOutput.Bytes;
            int sets = (int)Math.Clamp(Math.Ceiling(RotatedBytes / bytes), 1, MostSets);
            data = new (CudaInt8Weights, CudaMatrix, CudaMatrix)[sets];
            for (int i = 0; i < sets; i++)
            {
                CudaBuffer input = activations, result = firstOutput;
                if (i > 0)
                {
                    input = Own(new CudaBuffer(context, activations.Bytes));
                    input.CopyFrom(activations, activations.Bytes, stream);
                    result = Output(n, output);
                }

                data[i] = (
                    i == 0 ? first : Own(first.Copy(context, stream)),
                    new CudaMatrix(input.Address, ElementFormat.Float16, k),
                    new CudaMatrix(result.Address, output, n));
            }

            stream.Synchronize();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The kernel that multiplies a single row which nothing has quantized, where there is one.</summary>
    public IEnumerable<CudaKernelVariant> SingleRow => matMul.SingleRow(data[0].Input, data[0].Weights, data[0].Output.Format) is { } kernel ? [kernel] : [];

    /// <summary>Microseconds of device time a multiplication; every call measures anew.</summary>
    /// <param name="variant">The kernel.</param>
    /// <param name="microseconds">The least time to spend.</param>
    public double Sample(CudaKernelVariant variant, double microseconds)
    {
        if (!graphs.TryGetValue(variant.Name, out (CudaGraph Graph, int Calls, double Microseconds) recorded))
        {
            recorded = Record(variant);
        }

        int launches = (int)Math.Clamp(Math.Ceiling(microseconds / (recorded.Calls * recorded.Microseconds)), 1, 1 << 12);
        double time = Timed(() =>
        {
            for (int i = 0; i < launches; i++)
            {
                recorded.Graph.Launch(stream);
            }
        }) / ((double)launches * recorded.Calls);
        graphs[variant.Name] = recorded with { Microseconds = time };
        return time;
    }

    /// <summary>Multiplies once, over poisoned results, and reads some rows of them.</summary>
    /// <param name="variant">The kernel.</param>
    /// <param name="rows">The rows.</param>
    /// <param name="results">Receives them, one after the other.</param>
    public void Run(CudaKernelVariant variant, IReadOnlyList<int> rows, Span<byte> results)
    {
        firstOutput.Fill(0xFF, stream);
        Reserve(variant);
        matMul.Multiply(workspace, data[0].Input, m, data[0].Weights, data[0].Output, gemm: variant);
        int rowBytes = results.Length / rows.Count;

        // Neighbouring rows in one copy, and all of them on the device first: a copy to the host waits for each.
        gathered ??= Own(new CudaBuffer(context, results.Length));
        for (int i = 0, count; i < rows.Count; i += count)
        {
            count = 1;
            while (i + count < rows.Count && rows[i + count] == rows[i] + count)
            {
                count++;
            }

            gathered.CopyFrom(firstOutput, (long)count * rowBytes, stream, (long)rows[i] * rowBytes, (long)i * rowBytes);
        }

        gathered.Download(results, stream);
    }

    public void Dispose()
    {
        foreach ((CudaGraph graph, _, _) in graphs.Values)
        {
            graph.Dispose();
        }

        for (int i = owned.Count - 1; i >= 0; i--)
        {
            owned[i].Dispose();
        }
    }

    private void Queue(CudaKernelVariant variant, int call)
    {
        (CudaInt8Weights weights, CudaMatrix input, CudaMatrix output) = data[call % data.Length];
        switch (operation)
        {
            case CudaOperation.Quantize:
                matMul.QuantizeActivations(workspace, input, m, weights);
                break;
            case CudaOperation.Gemm:
                matMul.Gemm(workspace, input, m, weights, output, 0, Activation.None, variant, early: true);
                break;
            default:
                matMul.Multiply(workspace, input, m, weights, output, gemm: variant);
                break;
        }
    }

    private void Reserve(CudaKernelVariant variant) => CudaInt8MatMul.Reserve(workspace, variant, m, data[0].Weights);

    private (CudaGraph Graph, int Calls, double Microseconds) Record(CudaKernelVariant variant)
    {
        // What the kernel multiplies must be real data: zeros need less power and run faster.
        Reserve(variant);
        matMul.QuantizeActivations(workspace, data[0].Input, m, data[0].Weights);
        Queue(variant, 0);
        double once = Timed(() => Queue(variant, 1));
        int least = once > 2 * GraphMicroseconds ? 1 : Math.Min(2, data.Length);
        int calls = (int)Math.Clamp(Math.Ceiling(GraphMicroseconds / once), least, MostCalls);
        CudaGraph graph = stream.Capture(() =>
        {
            for (int i = 0; i < calls; i++)
            {
                Queue(variant, i);
            }
        });
        double replay = Timed(() => graph.Launch(stream));
        return graphs[variant.Name] = (graph, calls, replay / calls);
    }

    private double Timed(Action queue)
    {
        start.Record(stream);
        queue();
        end.Record(stream);
        end.Synchronize();
        return start.MicrosecondsTo(end);
    }

    private CudaBuffer Output(int n, ElementFormat format) => Own(new CudaBuffer(context, (long)m * n * (format == ElementFormat.Float32 ? 4 : 2)));

    private CudaBuffer Activations(Int8Spec spec, int k, int[] outliers)
    {
        int rows = Math.Min(m, SyntheticData.RowPeriod);
        Half[] values = new Half[rows * k];
        float[] row = new float[k];
        for (int i = 0; i < rows; i++)
        {
            SyntheticData.FillActivations(spec, i, outliers, row);
            System.Numerics.Tensors.TensorPrimitives.ConvertToHalf(row, values.AsSpan(i * k, k));
        }

        CudaBuffer buffer = Own(new CudaBuffer(context, (((long)m * k * HalfBytes) + 3) / 4 * 4));
        for (int first = 0; first < m; first += rows)
        {
            buffer.Upload<Half>(values.AsSpan(0, Math.Min(rows, m - first) * k), stream, (long)first * k * HalfBytes);
        }

        return buffer;
    }

    private T Own<T>(T item)
        where T : IDisposable
    {
        owned.Add(item);
        return item;
    }
}
