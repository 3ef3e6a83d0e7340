using System.Globalization;
using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// Microseconds of device time per decoder kernel in the shape of OPT-6.7B (hidden 4096, 32 heads of 128, vocabulary 50,272), by replays of a graph
/// of many launches one after the other, which start early as they do in a step.
/// </summary>
internal sealed class DecoderBenchmark : IDisposable
{
    private const int Hidden = 4096, Heads = 32, Size = 128, FeedForward = 16384, Vocabulary = 50272, Launches = 32, Replays = 7;

    private readonly CudaContext context;
    private readonly CudaStream stream;
    private readonly CudaDecoderKernels kernels;
    private readonly DeviceData data;
    private readonly CudaAttentionWorkspace workspace;
    private string filter = "";

    public DecoderBenchmark(CudaDevice device)
    {
        context = new CudaContext(device);
        stream = new CudaStream(context);
        kernels = new CudaDecoderKernels(context, Decoder.DecoderKernels);
        data = new DeviceData(context, stream);
        workspace = new CudaAttentionWorkspace(context, stream);
    }

    /// <summary>Those whose names hold a text.</summary>
    public void Run(TextWriter output, string filter)
    {
        this.filter = filter;
        Half[] noise = [.. DeviceData.Random(new Random(1), 1 << 20, 1).Select(value => (Half)value)];
        ulong residual = data.Allocate(2048L * Hidden * 4, 0), weight = data.Allocate(Hidden * 4, 0), bias = data.Allocate(Hidden * 4, 0);
        ulong activations = Noise(noise, 2048L * FeedForward * 2), wide = Noise(noise, 2048L * 3 * Hidden * 2), results = data.Allocate(2048L * FeedForward * 4, 0);
        ulong head = Noise(noise, (long)Vocabulary * Hidden * 2), logits = data.Allocate(32L * Vocabulary * 4, 0);
        CudaMatrix input = new(activations, ElementFormat.Float16, Hidden);
        ulong tokens = data.Allocate(32 * 4, 0), zeros = data.Allocate(2048 * 4, 0);
        foreach (Int8KernelSet set in new[] { LlmInt8.Kernels, LlmInt8Elements.Kernels })
        {
            using CudaInt8MatMul matMul = new(context, set.Spec, set.CudaVariants);
            using CudaMatMulWorkspace space = new(context, stream);
            using CudaInt8Weights weights = new(context, stream, 16, Hidden);
            foreach (int rows in new[] { 1, 8, 32, 2047 })
            {
                CudaInt8MatMul.Reserve(space, matMul.Choose(rows, 16, Hidden, ElementFormat.Float16), rows, weights);
                Report(output, $"norm + add + quantize, {set.Name}, {rows} rows", _ => kernels.Norm(
                    stream, CudaNorm.Layer, rows, Hidden, residual, input, default, weight, bias, 1e-5f, new(results, ElementFormat.Float16, Hidden), 0, matMul.QuantizeTarget(space, rows, weights)));
                Report(output, $"quantize apart, {set.Name}, {rows} rows of {Hidden}", _ => matMul.QuantizeActivations(space, input, rows, weights));
            }
        }

        foreach (int rows in new[] { 1, 32 })
        {
            Report(output, $"embedding, {rows} rows", _ => kernels.Embed(stream, rows, tokens, zeros, new(head, ElementFormat.Float16, Hidden), Vocabulary, new(head, ElementFormat.Float16, Hidden), 2048, 2, 1, Hidden, new(residual, ElementFormat.Float32, Hidden)));
            Report(output, $"argmax, {rows} rows", _ => kernels.ArgMax(stream, rows, new(logits, ElementFormat.Float32, Vocabulary), Vocabulary, tokens));
            Report(output, $"gate SiLU of 11008, {rows} rows", _ => kernels.Gate(stream, Activation.Silu, rows, 11008, new(activations, ElementFormat.Float16, 11008), new(wide, ElementFormat.Float16, 11008), new(results, ElementFormat.Float16, 11008)));
        }

        foreach (int rows in new[] { 1, 8, 16, 32 })
        {
            Report(output, $"16-bit head, {rows} rows", _ => kernels.FloatGemm(stream, input, rows, new(head, ElementFormat.Float16, Hidden), Vocabulary, Hidden, new(logits, ElementFormat.Float32, Vocabulary)), (double)Vocabulary * Hidden * 2, "TB/s");
            int matrices = Vocabulary / Hidden;
            Report(output, $"16-bit 4096 x 4096, {rows} rows", i => kernels.FloatGemm(stream, input, rows, new(head + (ulong)((long)(i % matrices) * Hidden * Hidden * 2), ElementFormat.Float16, Hidden), Hidden, Hidden, new(results, ElementFormat.Float16, Hidden)), (double)Hidden * Hidden * 2, "TB/s");
        }

        Report(output, "16-bit 16384 x 4096, 2047 rows", _ => kernels.FloatGemm(stream, input, 2047, new(head, ElementFormat.Float16, Hidden), FeedForward, Hidden, new(results, ElementFormat.Float16, FeedForward)), 2.0 * 2047 * FeedForward * Hidden, "TFLOP/s");
        Int8WeightProducts(output, input, results);
        Attention(output, noise, wide, results);
    }

    public void Dispose()
    {
        workspace.Dispose();
        data.Dispose();
        kernels.Dispose();
        stream.Dispose();
        context.Dispose();
    }

    /// <summary>int8 weights under 16-bit activations, in tiles of few rows and widened.</summary>
    private void Int8WeightProducts(TextWriter output, CudaMatrix input, ulong results)
    {
        using CudaInt8Weights weights = new(context, stream, FeedForward, Hidden);
        using CudaBuffer room = new(context, CudaDecoderKernels.WidenedBytes(FeedForward, Hidden));
        foreach (int rows in new[] { 32, 64, 96, 128, 192, 256, 512, 1024, 2047 })
        {
            foreach (CudaBuffer? given in new[] { null, room }.Take(rows < CudaDecoderKernels.WidenedRows ? 1 : 2))
            {
                Report(
                    output,
                    $"int8 weights 16384 x 4096{(given is null ? "" : ", widened")}, {rows} rows",
                    _ => kernels.FloatGemm(stream, input, rows, weights, new(results, ElementFormat.Float16, FeedForward), room: given),
                    2.0 * rows * FeedForward * Hidden,
                    "TFLOP/s");
            }
        }
    }

    private void Attention(TextWriter output, Half[] noise, ulong wide, ulong results)
    {
        const int Pages = 32 * 34, MaxPages = 34;
        long bytes = (long)Pages * Heads * 64 * Size * 2;
        CudaKeyValuePages pages = new(Noise(noise, bytes), Noise(noise, bytes), data.Upload([.. Enumerable.Range(0, Pages).Select(page => (uint)page)]), MaxPages, Pages);
        CudaAttentionShape shape = new(Heads, Heads, Size, 1 / MathF.Sqrt(Size));
        ulong sequences = data.Upload([.. Enumerable.Range(0, 32).Select(row => (uint)row)]);
        CudaHeads View(int part) => new(wide + (ulong)(part * Hidden * 2), 3 * Hidden, Size);
        workspace.Reserve(32, Heads, Size);
        foreach (int rows in new[] { 1, 8, 32 })
        {
            foreach (int context in new[] { 64, 256, 1024, 2048 })
            {
                ulong positions = data.Upload([.. Enumerable.Repeat((uint)context - 1, rows)]);
                Report(output, $"decode attention, {rows} rows, context {context}", _ => kernels.AttentionDecode(
                    stream, rows, shape, View(0), View(1), View(2), positions, sequences, pages, context, new(results, ElementFormat.Float16, Hidden), workspace, settled: true), (double)rows * context * Hidden * 4, "TB/s");
            }
        }

        CudaAttentionTile[] tiles = [.. Enumerable.Range(0, 16).Reverse().Select(tile => new CudaAttentionTile((uint)tile * 128, (uint)(tile == 15 ? 127 : 128), 0, (uint)tile * 128))];
        ulong tilesAt = data.Upload(tiles), rowPositions = data.Upload([.. Enumerable.Range(0, 2047).Select(row => (uint)row)]), sequence = data.Allocate(2048 * 4, 0);
        using CudaDecoderKernels others = new(context, Kernels.Specs.Decoder.DecoderKernels) { UsesWgmma = false };
        foreach ((string by, CudaDecoderKernels set) in new[] { ("", kernels), (" without wgmma", others) })
        {
            Report(output, $"prefill attention{by}, 2047 positions", _ => set.AttentionPrefill(stream, tilesAt, tiles.Length, shape, View(0), pages, new(results, ElementFormat.Float16, Hidden)), 2.0 * 2047 * 2047 * Hidden, "TFLOP/s");
        }

        Report(output, "store, 2047 rows", _ => kernels.RotaryAndStore(stream, 2047, shape, View(0), View(1), View(2), rowPositions, sequence, default, pages));
        ulong table = data.Allocate(2048 * 64 * 8, 0);
        Report(output, "rotary and store, 2047 rows", _ => kernels.RotaryAndStore(stream, 2047, shape, View(0), View(1), View(2), rowPositions, sequence, new(table, 64), pages));
        Report(output, "rotary and store, 1 row", _ => kernels.RotaryAndStore(stream, 1, shape, View(0), View(1), View(2), rowPositions, sequence, new(table, 64), pages));
    }

    private ulong Noise(Half[] noise, long bytes)
    {
        ulong address = data.Allocate(bytes);
        for (long done = 0; done < bytes; done += noise.Length * 2L)
        {
            data.Write(noise.AsSpan(0, (int)Math.Min(noise.Length, (bytes - done) / 2)), done);
        }

        return address;
    }

    /// <summary>Prints a median, and the rate where the work of a launch, in bytes or operations, is given.</summary>
    private void Report(TextWriter output, string what, Action<int> queue, double work = 0, string unit = "")
    {
        if (!what.Contains(filter, StringComparison.Ordinal))
        {
            return;
        }

        using CudaEvent start = new(context), end = new(context);
        queue(0);
        using CudaGraph graph = stream.Capture(() =>
        {
            for (int i = 0; i < Launches; i++)
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
            times[i] = start.MicrosecondsTo(end) / Launches;
        }

        Array.Sort(times);
        double median = times[Replays / 2];
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{median,9:F2} us  {what}{(work > 0 ? $": {work / median / 1e6:0.00} {unit}" : "")}"));
    }
}
