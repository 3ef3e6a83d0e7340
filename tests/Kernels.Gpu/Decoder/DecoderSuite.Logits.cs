using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <content>Multiplication of 16-bit activations, by 16-bit and int8 weights, and the choice of tokens.</content>
internal sealed partial class DecoderSuite
{
    private void FloatGemms(bool briefly)
    {
        (int Rows, int N, int K)[] shapes = briefly
            ? [(5, 130, 72), (40, 130, 72)]
            : [(1, 130, 8), (1, 4096, 4096), (7, 257, 72), (8, 64, 512), (9, 33, 264), (16, 130, 1000), (20, 96, 4096), (32, 50, 136), (33, 130, 72), (128, 128, 32), (150, 257, 1000), (300, 520, 264), (600, 6904, 520)];
        foreach ((int rows, int n, int k) in shapes)
        {
            using DeviceData data = new(context, stream);
            Random random = new(rows + n);
            ulong input = data.Upload(DeviceData.Random(random, rows * k, 1), ElementFormat.Float16, out float[] a);
            ulong weights = data.Upload(DeviceData.Random(random, n * k, 1), ElementFormat.Float16, out float[] b);
            float[] bias = DeviceData.Random(random, n, 1);
            ulong biasAt = data.Upload(bias);
            double[] sums = new double[rows * n];
            Parallel.For(0, rows * n, i =>
            {
                for (int j = 0; j < k; j++)
                {
                    sums[i] += (double)a[(i / n * k) + j] * b[(i % n * k) + j];
                }
            });
            foreach (ElementFormat format in new[] { ElementFormat.Float16, ElementFormat.Float32 })
            {
                foreach (bool invariant in new[] { false, true })
                {
                    foreach (Activation activation in (long)n * k < 1 << 20 ? Enum.GetValues<Activation>() : [Activation.None])
                    {
                        bool hasBias = activation != Activation.Relu;
                        ulong output = data.Allocate(rows * n * 4);
                        kernels.FloatGemm(stream, Half16(input, k), rows, Half16(weights, k), n, k, new(output, format, n), hasBias ? biasAt : 0, activation, invariant);
                        float[] got = format == ElementFormat.Float32 ? data.Read<float>(output, rows * n) : data.ReadHalves(output, rows * n);
                        double[] want = [.. sums.Select((sum, i) => (double)Curves.Apply((float)(sum + (hasBias ? bias[i % n] : 0)), activation))];
                        double error = 3e-7 * k;
                        Compare($"16-bit GEMM [{rows},{k}] x [{n},{k}] to {format}, {activation}, invariant {invariant}", got, want, i => error + (format == ElementFormat.Float16 ? Half16(want[i]) : 4e-6 * Math.Abs(want[i])));
                    }
                }
            }

            RowsAlone(data, input, weights, rows, n, k);
        }
    }

    /// <summary>A row has the same bits alone, among up to 32, and in several passes.</summary>
    private void RowsAlone(DeviceData data, ulong input, ulong weights, int rows, int n, int k)
    {
        ulong together = data.Allocate(rows * n * 4), alone = data.Allocate(n * 4);
        kernels.FloatGemm(stream, Half16(input, k), rows, Half16(weights, k), n, k, Single(together, n), invariant: true);
        foreach (int row in new[] { 0, rows / 2, rows - 1 }.Distinct())
        {
            kernels.FloatGemm(stream, Half16(input + (ulong)(row * k * 2), k), 1, Half16(weights, k), n, k, Single(alone, n));
            Same($"16-bit GEMM [{rows},{k}] x [{n},{k}]: row {row} alone", data.Read<int>(alone, n), data.Read<int>(together + (ulong)((long)row * n * 4), n));
        }
    }

    /// <summary>int8 weights with a step per output feature under 16-bit activations.</summary>
    private void Int8WeightGemms(bool briefly)
    {
        (int Rows, int N, int K)[] shapes = briefly
            ? [(5, 130, 72), (40, 130, 72), (260, 300, 72)]
            : [(1, 130, 8), (1, 4096, 4096), (7, 257, 72), (8, 64, 512), (9, 33, 264), (16, 130, 1000), (20, 96, 4096), (32, 50, 136), (33, 130, 72), (128, 128, 32), (150, 257, 1000), (255, 300, 264), (300, 700, 264), (256, 1000, 72), (600, 6904, 520)];
        foreach ((int rows, int n, int k) in shapes)
        {
            using DeviceData data = new(context, stream);
            using CudaInt8Weights weights = new(context, stream, n, k);
            Random random = new(rows + n);
            ulong input = data.Upload(DeviceData.Random(random, rows * k, 1), ElementFormat.Float16, out float[] a);
            sbyte[] b = new sbyte[n * weights.KPadded];
            for (int i = 0; i < b.Length; i++)
            {
                b[i] = (sbyte)(i % weights.KPadded < k ? random.Next(-127, 128) : 0);
            }

            float[] steps = [.. DeviceData.Random(random, n, 0.01f).Select(static step => Math.Abs(step) + 1e-4f)], bias = DeviceData.Random(random, n, 1);
            weights.Quantized.Upload<sbyte>(b, stream);
            weights.Statistics.Upload<float>(steps, stream);
            ulong biasAt = data.Upload(bias);
            double[] sums = new double[rows * n];
            Parallel.For(0, rows * n, i =>
            {
                for (int j = 0; j < k; j++)
                {
                    sums[i] += (double)a[(i / n * k) + j] * b[(i % n * weights.KPadded) + j];
                }

                sums[i] *= steps[i % n];
            });
            using CudaBuffer whole = new(context, CudaDecoderKernels.WidenedBytes(n, k)), part = new(context, CudaDecoderKernels.WidenedBytes(Math.Min(n, n < 1000 ? 256 : 768), k));
            foreach ((CudaBuffer? room, ElementFormat format) in new[] { (null, ElementFormat.Float16), (null, ElementFormat.Float32), (whole, ElementFormat.Float16), (part, ElementFormat.Float32), (part, ElementFormat.Float16) })
            {
                foreach (Activation activation in new[] { Activation.None, Activation.Relu })
                {
                    bool hasBias = activation == Activation.None;
                    ulong output = data.Allocate(rows * n * 4);
                    kernels.FloatGemm(stream, Half16(input, k), rows, weights, new(output, format, n), hasBias ? biasAt : 0, activation, room);
                    float[] got = format == ElementFormat.Float32 ? data.Read<float>(output, rows * n) : data.ReadHalves(output, rows * n);
                    double[] want = [.. sums.Select((sum, i) => (double)Curves.Apply((float)(sum + (hasBias ? bias[i % n] : 0)), activation))];
                    double error = 3e-7 * k * 127 * 0.0101;
                    Compare($"int8 weights [{rows},{k}] x [{n},{k}] to {format}, {activation}, room {room?.Bytes ?? 0}", got, want, i => error + (format == ElementFormat.Float16 ? Half16(want[i]) : 4e-6 * Math.Abs(want[i])));
                }
            }

            ulong together = data.Allocate(rows * n * 4), alone = data.Allocate(n * 4);
            kernels.FloatGemm(stream, Half16(input, k), rows, weights, Single(together, n), room: rows < CudaDecoderKernels.WidenedRows ? whole : null);
            kernels.FloatGemm(stream, Half16(input + (ulong)((rows - 1) * k * 2), k), 1, weights, Single(alone, n));
            Same($"int8 weights [{rows},{k}] x [{n},{k}]: the last row alone", data.Read<int>(alone, n), data.Read<int>(together + (ulong)((long)(rows - 1) * n * 4), n));
        }
    }

    private void ArgMaxes()
    {
        foreach (int vocabulary in new[] { 1, 5, 1000, 8191, 50272 })
        {
            using DeviceData data = new(context, stream);
            const int Rows = 7;
            Random random = new(vocabulary);
            float[] logits = DeviceData.Random(random, Rows * vocabulary, 10);
            Span<float> Row(int row) => logits.AsSpan(row * vocabulary, vocabulary);
            foreach (int at in new[] { vocabulary - 1, vocabulary / 2, vocabulary / 3 })
            {
                Row(1)[at] = 20;
                Row(2)[at] = at == vocabulary / 2 ? float.NaN : 30;
                Row(3)[at] = float.PositiveInfinity;
            }

            Row(4).Fill(float.NegativeInfinity);
            Row(5).Fill(-3);
            uint[] positions = [0, 9, 2, 3, 4, 5, DecoderRow.Inactive], tokens = [.. Enumerable.Repeat(77u, Rows)];
            ulong positionsAt = data.Upload(positions), tokensAt = data.Upload(tokens);
            kernels.ArgMax(stream, Rows, Single(data.Upload(logits), vocabulary), vocabulary, tokensAt, positionsAt, advance: true);
            uint[] want = [.. Enumerable.Range(0, Rows).Select(row => row switch
            {
                2 or 3 or 4 => DecoderRow.NoToken,
                6 => 77u,
                _ => (uint)logits.AsSpan(row * vocabulary, vocabulary).IndexOf(logits.AsSpan(row * vocabulary, vocabulary).ToArray().Max()),
            })];
            Same($"argmax of {vocabulary}", data.Read<uint>(tokensAt, Rows), want);
            Same<uint>($"argmax of {vocabulary}: positions", data.Read<uint>(positionsAt, Rows), [1, 10, 3, 4, 5, 6, DecoderRow.Inactive]);
        }
    }

    /// <summary>
    /// A small decoder's step, token to token, in a graph whose kernels start before those ahead of them have ended: the same tokens as one kernel
    /// after the other.
    /// </summary>
    private void ReplayedSteps()
    {
        const int Rows = 3, Width = 512, Heads = 8, Size = 64, Vocabulary = 1000, Steps = 100;
        using DeviceData data = new(context, stream);
        using CudaAttentionWorkspace workspace = new(context, stream);
        Random random = new(8);
        ulong Weights(int n, int k) => data.Upload(DeviceData.Random(random, n * k, 0.15f), ElementFormat.Float16, out _);
        ulong embeddings = Weights(Vocabulary, Width), qkv = Weights(3 * Width, Width), project = Weights(Width, Width);
        ulong residual = data.Allocate(Rows * Width * 4), normed = data.Allocate(Rows * Width * 2), projected = data.Allocate(Rows * 3 * Width * 2);
        ulong attended = data.Allocate(Rows * Width * 2), branch = data.Allocate(Rows * Width * 2), logits = data.Allocate(Rows * Vocabulary * 4);
        CudaKeyValuePages pages = new(data.Allocate(6 * Heads * 64 * Size * 2), data.Allocate(6 * Heads * 64 * Size * 2), data.Upload<uint>([5, 0, 3, 2, 1, 4]), 2, 6);
        ulong sequences = data.Upload<uint>([0, 1, 2]);
        workspace.Reserve(Rows, Heads, Size);
        uint[][] results = [.. new[] { false, true }.Select(replayed =>
        {
            ulong tokens = data.Upload<uint>([1, 500, 999]), positions = data.Upload<uint>([0, 0, 0]);
            List<uint> chosen = [];
            void Wait()
            {
                if (!replayed)
                {
                    stream.Synchronize();
                }
            }

            void Queue()
            {
                CudaHeads View(int part) => new(projected + (ulong)(part * Width * 2), 3 * Width, Size);
                kernels.Embed(stream, Rows, tokens, positions, Half16(embeddings, Width), Vocabulary, default, 0, 0, 1, Width, Single(residual, Width));
                Wait();
                kernels.Norm(stream, CudaNorm.Layer, Rows, Width, residual, default, default, 0, 0, 1e-5f, Half16(normed, Width));
                Wait();
                kernels.FloatGemm(stream, Half16(normed, Width), Rows, Half16(qkv, Width), 3 * Width, Width, Half16(projected, 3 * Width));
                Wait();
                kernels.AttentionDecode(stream, Rows, new(Heads, Heads, Size, 0.125f), View(0), View(1), View(2), positions, sequences, pages, 2 * 64, Half16(attended, Width), workspace);
                Wait();
                kernels.FloatGemm(stream, Half16(attended, Width), Rows, Half16(project, Width), Width, Width, Half16(branch, Width));
                Wait();
                kernels.Norm(stream, CudaNorm.Layer, Rows, Width, residual, Half16(branch, Width), default, 0, 0, 1e-5f, Half16(normed, Width));
                Wait();
                kernels.FloatGemm(stream, Half16(normed, Width), Rows, Half16(embeddings, Width), Vocabulary, Width, Single(logits, Vocabulary));
                Wait();
                kernels.ArgMax(stream, Rows, Single(logits, Vocabulary), Vocabulary, tokens, positions, advance: true);
                Wait();
            }

            using CudaGraph? graph = replayed ? stream.Capture(Queue) : null;
            for (int step = 0; step < Steps; step++)
            {
                if (graph is null)
                {
                    Queue();
                }
                else
                {
                    graph.Launch(stream);
                }

                if (step % 10 == 9)
                {
                    chosen.AddRange(data.Read<uint>(tokens, Rows));
                }
            }

            return chosen.ToArray();
        })];
        Expect(results[0].Distinct().Count() > 3, "a small decoder's tokens hardly differ");
        Same("a step in a graph: tokens", results[1], results[0]);
    }
}
