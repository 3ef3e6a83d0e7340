using System.Globalization;
using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// What a layer of OPT-6.7B's shape takes in a decoding step of one row, by replays of a graph of many layers with weights of their own, and how it grows
/// as the parts of a layer join: the kernels overlap, so their times apart do not add up to it.
/// </summary>
internal sealed class LayerBenchmark : IDisposable
{
    private const int Hidden = 4096, Heads = 32, Size = 128, FeedForward = 16384, Layers = 16, Context = 256, Replays = 9;

    private static readonly (int N, int K)[] Shapes = [(3 * Hidden, Hidden), (Hidden, Hidden), (FeedForward, Hidden), (Hidden, FeedForward)];

    private readonly CudaContext context;
    private readonly CudaStream stream;
    private readonly CudaDecoderKernels kernels;
    private readonly DeviceData data;
    private readonly CudaAttentionWorkspace attention;
    private readonly CudaMatMulWorkspace space;
    private readonly List<CudaInt8Weights[]> layers = [];

    public LayerBenchmark(CudaDevice device)
    {
        context = new CudaContext(device);
        stream = new CudaStream(context);
        kernels = new CudaDecoderKernels(context, Decoder.DecoderKernels);
        data = new DeviceData(context, stream);
        attention = new CudaAttentionWorkspace(context, stream);
        space = new CudaMatMulWorkspace(context, stream);
    }

    [Flags]
    private enum Parts
    {
        Products = 0,
        Norms = 1,
        Attention = 2,
        Quantization = 4,
        All = 7,

        /// <summary>All of it as a decoder queues it: products of a single row normalize and quantize it themselves.</summary>
        Fused = 8,
    }

    public void Run(TextWriter output)
    {
        sbyte[] noise = new sbyte[1 << 22];
        new Random(1).NextBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(noise.AsSpan()));
        float[] steps = [.. Enumerable.Repeat(1e-4f, FeedForward)];
        for (int layer = 0; layer < Layers; layer++)
        {
            layers.Add([.. Shapes.Select(shape =>
            {
                CudaInt8Weights weights = new(context, stream, shape.N, shape.K);
                for (long at = 0; at < weights.Quantized.Bytes; at += noise.Length)
                {
                    weights.Quantized.Upload<sbyte>(noise.AsSpan(0, (int)Math.Min(noise.Length, weights.Quantized.Bytes - at)), stream, at);
                }

                weights.Statistics.Upload<float>(steps.AsSpan(0, shape.N), stream);
                return weights;
            })]);
        }

        float[] bias = new float[Hidden], plain = new float[Hidden];
        for (int i = 0; i < 6; i++)
        {
            bias[(int)((i + 0.5) * Hidden / 6)] = 40;
        }

        foreach ((string name, ulong biasAt, Int8KernelSet set) in new[]
        {
            ("no outliers", 0UL, AbsmaxVector.Kernels), ("columns, none found", data.Upload(plain), LlmInt8.Kernels), ("columns, six found", data.Upload(bias), LlmInt8.Kernels),
        })
        {
            using CudaInt8MatMul matMul = new(context, set.Spec, set.CudaVariants);
            foreach (CudaInt8Weights weights in layers[0])
            {
                CudaInt8MatMul.Reserve(space, matMul.Choose(1, weights.OutputFeatures, weights.InputFeatures, ElementFormat.Float16), 1, weights);
            }

            for (int i = 0; i < Shapes.Length; i++)
            {
                int which = i;
                double time = Report(output, $"{name}: [{Shapes[i].N}, {Shapes[i].K}] alone", layer => Product(matMul, layers[layer][which], 0, 0));
                output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"    {(double)Shapes[i].N * Shapes[i].K / time / 1e6:F2} TB/s"));
            }

            foreach (Parts parts in new[] { Parts.Products, Parts.Norms, Parts.Norms | Parts.Attention, Parts.All, Parts.Fused })
            {
                Layer(output, name, matMul, biasAt, parts);
            }
        }
    }

    public void Dispose()
    {
        layers.ForEach(static layer => Array.ForEach(layer, static weights => weights.Dispose()));
        space.Dispose();
        attention.Dispose();
        data.Dispose();
        kernels.Dispose();
        stream.Dispose();
        context.Dispose();
    }

    private ulong residual, other, branch, rows, wide, inner, weight, positions, sequences;

    private void Layer(TextWriter output, string name, CudaInt8MatMul matMul, ulong bias, Parts parts)
    {
        const int Pages = (Context / DecoderRow.PageSize) + 1;
        long pageBytes = (long)Pages * Heads * DecoderRow.PageSize * Size * 2;
        if (residual == 0)
        {
            residual = data.Allocate(Hidden * 4, 0);
            other = data.Allocate(Hidden * 4, 0);
            branch = data.Allocate(Hidden * 2, 0);
            rows = data.Allocate(Hidden * 2, 0);
            wide = data.Allocate(3L * Hidden * 2, 0);
            inner = data.Allocate(FeedForward * 2L, 0);
            weight = data.Allocate(Hidden * 4, 0);
            positions = data.Upload(new[] { Context - 1u });
            sequences = data.Upload(new[] { 0u });
        }

        ulong table = data.Upload([.. Enumerable.Range(0, Pages).Select(static page => (uint)page)]);
        CudaKeyValuePages[] pages = [.. Enumerable.Range(0, Layers).Select(_ => new CudaKeyValuePages(data.Allocate(pageBytes, 0), data.Allocate(pageBytes, 0), table, Pages, Pages))];
        CudaMatrix normed = new(rows, ElementFormat.Float16, Hidden), between = new(inner, ElementFormat.Float16, FeedForward);
        CudaAttentionShape shape = new(Heads, Heads, Size, 1 / MathF.Sqrt(Size));
        attention.Reserve(1, Heads, Size);
        Report(output, $"{name}: layer with {parts}", layer =>
        {
            CudaInt8Weights[] weights = layers[layer];
            if (parts == Parts.Fused)
            {
                Row(weights[0], default, wide, (residual, other));
                Attention(layer);
                Row(weights[1], normed, branch);
                Row(weights[2], default, inner, (other, residual), Activation.Relu);
                Row(weights[3], between, branch);
                return;
            }

            Norm(weights[0]);
            Product(matMul, weights[0], rows, wide);
            if (parts.HasFlag(Parts.Attention))
            {
                Attention(layer);
            }

            if (parts.HasFlag(Parts.Quantization))
            {
                matMul.QuantizeActivations(space, normed, 1, weights[1]);
            }

            Product(matMul, weights[1], rows, rows);
            Norm(weights[2]);
            Product(matMul, weights[2], rows, inner, Activation.Relu);
            if (parts.HasFlag(Parts.Quantization))
            {
                matMul.QuantizeActivations(space, between, 1, weights[3]);
            }

            Product(matMul, weights[3], inner, rows);
        });

        void Norm(CudaInt8Weights next)
        {
            if (parts.HasFlag(Parts.Norms))
            {
                kernels.Norm(stream, CudaNorm.Layer, 1, Hidden, residual, normed, default, weight, bias, 1e-5f, normed, positions, matMul.QuantizeTarget(space, 1, next));
            }
        }

        void Attention(int layer) =>
            kernels.AttentionDecode(stream, 1, shape, View(0), View(1), View(2), positions, sequences, pages[layer], Context, normed, attention, settled: true);

        void Row(CudaInt8Weights matrix, CudaMatrix input, ulong to, (ulong From, ulong Sum)? stream32 = null, Activation activation = Activation.None)
        {
            CudaMatrix result = new(to, ElementFormat.Float16, matrix.OutputFeatures);
            CudaNormInput? norm = stream32 is { } made ? new CudaNormInput(CudaNorm.Layer, made.From, made.Sum, branch, 0, weight, bias, 1e-5f) : null;
            CudaKernelVariant kernel = matMul.SingleRow(input with { Format = ElementFormat.Float16 }, matrix, ElementFormat.Float16, activation, normed: norm is not null)
                ?? throw new InvalidOperationException($"No kernel multiplies a single row by [{matrix.OutputFeatures}, {matrix.InputFeatures}].");
            matMul.MultiplyRow(stream, input, norm, matrix, result, 0, activation, kernel);
        }

        CudaHeads View(int part) => new(wide + (ulong)(part * Hidden * 2), 3 * Hidden, Size);
    }

    private void Product(CudaInt8MatMul matMul, CudaInt8Weights weights, ulong input, ulong output, Activation activation = Activation.None)
    {
        CudaMatrix from = new(input == 0 ? Scratch() : input, ElementFormat.Float16, weights.InputFeatures);
        CudaMatrix to = new(output == 0 ? Scratch() : output, ElementFormat.Float16, weights.OutputFeatures);
        CudaKernelVariant gemm = matMul.Choose(1, weights.OutputFeatures, weights.InputFeatures, ElementFormat.Float16);
        matMul.Gemm(space, from, 1, weights, to, 0, activation, gemm, early: true);
    }

    private ulong scratch;

    private ulong Scratch() => scratch == 0 ? scratch = data.Allocate(FeedForward * 2L, 0) : scratch;

    private double Report(TextWriter output, string what, Action<int> queue)
    {
        using CudaEvent start = new(context), end = new(context);
        queue(0);
        using CudaGraph graph = stream.Capture(() =>
        {
            for (int i = 0; i < Layers; i++)
            {
                queue(i);
            }
        });
        double[] times = new double[Replays];
        graph.Launch(stream);
        for (int i = 0; i < Replays; i++)
        {
            start.Record(stream);
            graph.Launch(stream);
            end.Record(stream);
            end.Synchronize();
            times[i] = start.MicrosecondsTo(end) / Layers;
        }

        Array.Sort(times);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{times[Replays / 2],9:F2} us  {what}"));
        return times[Replays / 2];
    }
}
