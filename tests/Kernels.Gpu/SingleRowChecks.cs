using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// Single rows by the kernels that quantize them, and normalize them, on their way: against the oracle, and against a norm's or a quantization kernel with a
/// multiplication behind it, bit for bit.
/// </summary>
internal sealed class SingleRowChecks(CudaContext context, CudaStream stream, TextWriter log, List<string> failures)
{
    /// <summary>Tails of the row and of the tiles, more tiles than run at once, clusters of two to eight, shares of tiles that clusters do not take, the longest row.</summary>
    private static readonly (int N, int K, ElementFormat Format)[] Shapes =
    [
        (130, 200, ElementFormat.Float16),
        (72, 127, ElementFormat.BFloat16),
        (64, 128, ElementFormat.Float16),
        (300, 1001, ElementFormat.BFloat16),
        (65, 1030, ElementFormat.Float16),
        (700, 2104, ElementFormat.Float16),
        (4096, 2048, ElementFormat.Float16),
        (6000, 2056, ElementFormat.BFloat16),
        (520, 5000, ElementFormat.Float16),
        (130, 5000, ElementFormat.Float16),
        (2800, 4096, ElementFormat.Float16),
        (20000, 300, ElementFormat.Float16),
        (18000, 2104, ElementFormat.Float16),
        (400, 16000, ElementFormat.BFloat16),
        (4096, 16384, ElementFormat.Float16),
        (430, 16384, ElementFormat.Float16),
    ];

    private static readonly string[] Kinds = ["no outliers", "one outlier", "some outliers", "full range", "all outliers", "at the threshold", "zeros", "tiny", "not a number", "infinite"];

    /// <summary>How many of the kinds are tried.</summary>
    private int kinds = Kinds.Length;

    /// <summary>Runs everything.</summary>
    /// <param name="set">Whose kernels.</param>
    /// <param name="briefly">Small shapes and the first kinds alone, for a checking tool: every block does all of a row.</param>
    public void Run(Int8KernelSet set, bool briefly)
    {
        kinds = briefly ? 3 : Kinds.Length;
        using CudaDecoderKernels decoder = new(context, Specs.Decoder.DecoderKernels);
        using CudaInt8MatMul matMul = new(context, set.Spec, set.CudaVariants);
        using CudaMatMulWorkspace workspace = new(context, stream);
        bool has = matMul.Usable.Any(static kernel => kernel.Role == CudaKernelRole.RowGemm), norms = matMul.Usable.Any(static kernel => kernel.Role == CudaKernelRole.NormedRowGemm);
        bool standsAlone = set.Spec is { Activations: ActivationQuantization.Symmetric, Granularity: not QuantizationGranularity.Tensor, Outliers: not OutlierPolicy.Fixed };
        bool expected = standsAlone && context.Device.ComputeCapability == 90;
        if (has != expected || norms != expected)
        {
            failures.Add($"{set.Name}: kernels for a single row {has}, behind a norm {norms}, expected {expected}");
        }

        if (!has)
        {
            return;
        }

        foreach ((int n, int k, ElementFormat format) in Shapes.Where(shape => !briefly || (shape.N * (long)shape.K) < 2_000_000))
        {
            int before = failures.Count;
            Quantized(set, matMul, workspace, n, k, format);
            log.WriteLine($"{set.Name}, a row [{k}] x [{n},{k}] {format}: {failures.Count - before} failures");
        }

        if (set.Spec.Outliers != OutlierPolicy.None)
        {
            foreach (ElementFormat originals in Enum.GetValues<ElementFormat>())
            {
                int before = failures.Count;
                Quantized(set, matMul, workspace, 130, 200, ElementFormat.Float16, originals);
                Quantized(set, matMul, workspace, 700, 2104, ElementFormat.BFloat16, originals);
                log.WriteLine($"{set.Name}, a row with {originals} originals: {failures.Count - before} failures");
            }
        }

        foreach ((int n, int k) in briefly ? [(200, 136), (700, 2104)] : new[] { (200, 8), (136, 136), (72, 264), (700, 2104), (4096, 2048), (12288, 4096), (20000, 512) })
        {
            int before = failures.Count;
            Normalized(set, matMul, workspace, decoder, n, k);
            log.WriteLine($"{set.Name}, a norm's row [{k}] x [{n},{k}]: {failures.Count - before} failures");
        }
    }

    private void Quantized(Int8KernelSet set, CudaInt8MatMul matMul, CudaMatMulWorkspace workspace, int n, int k, ElementFormat format, ElementFormat? originals = null)
    {
        // Rows of odd lengths have no such kernel, nor those that do not start at 16 bytes.
        bool together = k % 8 == 0;
        for (int first = 0; first < kinds; first += together ? kinds : 1)
        {
            int rows = together ? kinds : 1;
            using CudaCase data = new(context, stream, set, rows, n, k, format, seed: n + k, [.. Enumerable.Range(first, rows).SelectMany(kind => Row(kind, k, set.Spec.OutlierThreshold))]);
            if (originals is { } type)
            {
                data.UseOriginals(type);
            }

            for (int row = 0; row < rows; row++)
            {
                string what = $"{set.Name}, a row [{k}] x [{n},{k}] {format}, {Kinds[first + row]}{(originals is null ? "" : $", {originals} originals")}";
                byte[] expected = CudaCase.Encode(data.ExpectedAlone(row), format);
                CudaKernelVariant? kernel = matMul.SingleRow(data.Input(row), data.OnDevice, format);
                if (kernel is null != (k % 8 > 0 || SharesTiles(n, k)))
                {
                    failures.Add($"{what}: {(kernel is null ? "no kernel takes it" : $"{kernel.Name} takes it")}");
                    continue;
                }

                byte[] got = data.Multiply(matMul, workspace, format, Activation.None, kernel, row, 1);
                Same($"{what}, against the oracle", CudaCase.Decode(got, format), CudaCase.Decode(expected, format));
                Same($"{what}, again", data.Multiply(matMul, workspace, format, Activation.None, null, row, 1), got);
                CudaKernelVariant apart = matMul.CandidatesFor(1, format).First(static candidate => candidate.Role == CudaKernelRole.StreamGemm);
                foreach (Activation activation in new[] { Activation.None, Activation.Relu })
                {
                    Same($"{what}, {activation}", data.Multiply(matMul, workspace, format, activation, kernel, row, 1), data.Multiply(matMul, workspace, format, activation, apart, row, 1));
                }
            }
        }
    }

    private void Normalized(Int8KernelSet set, CudaInt8MatMul matMul, CudaMatMulWorkspace workspace, CudaDecoderKernels decoder, int n, int k)
    {
        using CudaCase layer = new(context, stream, set, 1, n, k, ElementFormat.Float16, seed: k);
        foreach (CudaNorm norm in new[] { CudaNorm.Layer, CudaNorm.RootMeanSquare })
        {
            for (int kind = 0; kind < kinds; kind++)
            {
                int adds = kind % 3;
                bool hasWeight = kind != 1, hasBias = kind != 0;
                using DeviceData data = new(context, stream);
                Random random = new(kind + k);
                float[] weights = DeviceData.Random(random, k, 2), biases = Row(kind, k, set.Spec.OutlierThreshold);
                ulong residual = data.Upload(DeviceData.Random(random, k, 3)), sum = data.Allocate(k * sizeof(float));
                ulong first = adds > 0 ? data.Upload(DeviceData.Random(random, k, 1), ElementFormat.Float16, out _) : 0;
                ulong second = adds > 1 ? data.Upload(DeviceData.Random(random, k, 1), ElementFormat.Float16, out _) : 0;
                ulong weight = hasWeight ? data.Upload(weights) : 0, bias = hasBias ? data.Upload(biases) : 0;
                CudaMatrix row = new(data.Allocate(k * 2), ElementFormat.Float16, k);
                CudaMatrix got = new(data.Allocate(n * 2), ElementFormat.Float16, n), want = new(data.Allocate(n * 2), ElementFormat.Float16, n);
                string what = $"{set.Name}, {norm} norm of [{k}] x [{n},{k}], {adds} added, {Kinds[kind]}";
                CudaKernelVariant? kernel = matMul.SingleRow(row, layer.OnDevice, ElementFormat.Float16, normed: true);
                if (kernel is null != SharesTiles(n, k))
                {
                    failures.Add($"{what}: {(kernel is null ? "no kernel takes it" : $"{kernel.Name} takes it")}");
                }

                if (kernel is null)
                {
                    continue;
                }

                CudaKernelVariant apart = matMul.CandidatesFor(1, ElementFormat.Float16).First(static candidate => candidate.Role == CudaKernelRole.StreamGemm);
                CudaInt8MatMul.Reserve(workspace, apart, 1, layer.OnDevice);
                CudaNormInput input = new(norm, residual, adds > 0 ? sum : 0, first, second, weight, bias, 1e-5f);
                matMul.MultiplyRow(stream, default, input, layer.OnDevice, got, layer.BiasAddress, Activation.None, kernel);
                float[] fused = adds > 0 ? data.Read<float>(sum, k) : [];
                bool quantized = decoder.Norm(stream, norm, 1, k, residual, row with { Address = first }, row with { Address = second }, weight, bias, 1e-5f, row, 0, matMul.QuantizeTarget(workspace, 1, layer.OnDevice));
                if (!quantized)
                {
                    failures.Add($"{what}: the norm does not quantize");
                }

                matMul.Gemm(workspace, row, 1, layer.OnDevice, want, layer.BiasAddress, Activation.None, apart, early: true);
                Same(what, data.Read<ushort>(got.Address, n), data.Read<ushort>(want.Address, n));
                if (adds > 0)
                {
                    Same($"{what}: residual stream", fused, data.Read<float>(residual, k));
                }
            }
        }
    }

    /// <summary>Whether blocks share tiles without a cluster, on devices of some hundred multiprocessors: few tiles of a long K.</summary>
    private static bool SharesTiles(int n, int k) => k > 15 * 128 && n <= 320;

    /// <summary>A row of a kind, of values that both 16-bit types hold near enough.</summary>
    private static float[] Row(int kind, int k, float threshold)
    {
        float outlier = threshold is > 0 and < 1000 ? threshold : 6;
        Random random = new(kind);
        float[] row = DeviceData.Random(random, k, outlier * 0.6f);
        for (int i = 0; i < k; i++)
        {
            row[i] = Kinds[kind] switch
            {
                "one outlier" when i == (k * 2 / 3) => -9 * outlier,
                "some outliers" when i % 37 == 5 || i == k - 1 => row[i] * 20,
                "full range" => (i % 255) - 127,
                "all outliers" => outlier + 1 + (i % 7),
                "at the threshold" => (i % 4) switch { 0 => outlier, 1 => -outlier, 2 => outlier - 0.05f, _ => 0.05f - outlier },
                "zeros" => 0,
                "tiny" => 1e-6f,
                "not a number" when i == k / 2 => float.NaN,
                "infinite" when i == k - 1 => float.NegativeInfinity,
                "infinite" when i == 3 => 1000,
                _ => row[i],
            };
        }

        return row;
    }

    private void Same<T>(string what, T[] got, T[] want)
        where T : unmanaged, IEquatable<T>
    {
        int wrong = Enumerable.Range(0, want.Length).FirstOrDefault(i => !got[i].Equals(want[i]), -1);
        if (wrong >= 0)
        {
            failures.Add($"{what}: [{wrong}] of {want.Length} is {got[wrong]}, expected {want[wrong]}");
        }
    }
}
