using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// Layers of several rows by every kernel of a set. Without a curved activation function results must equal the oracle's bit for bit, for every variant,
/// tile edge, policy, type and row kind; the curves must agree within one rounding of the output type. Whole columns of outliers that tensor cores sum may be apart
/// by the float32 rounding of that sum.
/// </summary>
internal sealed class LayerChecks(CudaContext context, CudaStream stream, CudaMatMulWorkspace workspace, Int8KernelSet set, CudaInt8MatMul matMul, TextWriter log, List<string> failures)
{
    /// <summary>Tails of every tile, exact tiles, one more and one less, several tiles per block, K of one and of many blocks.</summary>
    private static readonly (int M, int N, int K, ElementFormat In, ElementFormat Out)[] Shapes =
    [
        (1, 130, 200, ElementFormat.Float16, ElementFormat.Float16),
        (7, 257, 384, ElementFormat.Float16, ElementFormat.Float16),
        (16, 512, 1000, ElementFormat.BFloat16, ElementFormat.BFloat16),
        (33, 300, 129, ElementFormat.Float32, ElementFormat.Float32),
        (40, 136, 136, ElementFormat.Float16, ElementFormat.Float32),
        (64, 136, 513, ElementFormat.Float16, ElementFormat.Float32),
        (127, 255, 127, ElementFormat.Float16, ElementFormat.BFloat16),
        (128, 256, 128, ElementFormat.Float32, ElementFormat.Float16),
        (129, 264, 700, ElementFormat.Float16, ElementFormat.Float16),
        (257, 333, 130, ElementFormat.BFloat16, ElementFormat.Float32),
        (300, 520, 256, ElementFormat.Float32, ElementFormat.BFloat16),
        (640, 1152, 384, ElementFormat.Float16, ElementFormat.Float16),
        (200, 136, 264, ElementFormat.BFloat16, ElementFormat.BFloat16),
        (2, 72, 8200, ElementFormat.Float16, ElementFormat.Float16),
        (9, 72, 16000, ElementFormat.Float16, ElementFormat.Float16),
        (64, 136, 4096, ElementFormat.BFloat16, ElementFormat.BFloat16),
        (5, 900, 5000, ElementFormat.Float16, ElementFormat.Float16),
        (30, 1500, 2104, ElementFormat.BFloat16, ElementFormat.BFloat16),
        (2040, 72, 1032, ElementFormat.Float16, ElementFormat.Float16),
    ];

    /// <summary>Shapes that give every persistent block several tiles or a share of one.</summary>
    private static readonly (int M, int N, int K, ElementFormat In, ElementFormat Out)[] LargeShapes =
    [
        (1100, 4200, 770, ElementFormat.Float16, ElementFormat.Float16),
        (3, 9000, 2600, ElementFormat.Float16, ElementFormat.Float16),
        (2, 20000, 300, ElementFormat.Float32, ElementFormat.Float32),
        (3, 36000, 1200, ElementFormat.Float16, ElementFormat.Float16),
        (2, 18000, 2104, ElementFormat.Float16, ElementFormat.Float16),
        (2, 26000, 2104, ElementFormat.Float16, ElementFormat.Float16),
    ];

    /// <summary>Everything, in pieces that can run side by side, but for one that needs the device for itself.</summary>
    public static IEnumerable<(bool IsAlone, Action<LayerChecks> Check)> For(Int8KernelSet set)
    {
        // All of them in one workspace: what one shape leaves there must not show in the next.
        yield return (false, static checks =>
        {
            foreach ((int m, int n, int k, ElementFormat input, ElementFormat output) in Shapes)
            {
                checks.AgreesWithTheOracle(m, n, k, input, output);
            }
        });
        if (set.Spec.Outliers is OutlierPolicy.Elements or OutlierPolicy.Columns)
        {
            foreach ((string Name, int Columns) pattern in OutlierPatterns.All)
            {
                yield return (false, checks => checks.OutliersInFewColumns(pattern));
            }
        }

        foreach ((int m, int n, int k, ElementFormat input, ElementFormat output) in LargeShapes)
        {
            yield return (false, checks => checks.AgreesWithTheOracle(m, n, k, input, output));
        }

        foreach (ElementFormat output in Enum.GetValues<ElementFormat>())
        {
            yield return (false, checks => checks.AgreesWithTheOracle(60, 200, 256, ElementFormat.Float16, output));
        }

        foreach ((int m, int n, int k) in new[] { (200, 384, 512), (520, 384, 2056), (20, 704, 2104), (1, 704, 2104) })
        {
            yield return (false, checks => checks.ReplaysWithOtherOutliers(m, n, k));
        }

        // Others' work would come between the two layers.
        yield return (true, static checks => checks.InputComesFromTheKernelAhead());
        if (set.Spec.Outliers is OutlierPolicy.Elements or OutlierPolicy.None && set.Spec.Granularity == QuantizationGranularity.Vector)
        {
            yield return (false, static checks => checks.RowsAreIndependent());
        }
    }

    /// <summary>Every kernel once on shapes with tails, for a checking tool.</summary>
    public void RunBriefly()
    {
        foreach (ElementFormat format in Enum.GetValues<ElementFormat>())
        {
            foreach (int rows in new[] { 5, 61, 130 })
            {
                using CudaCase data = new(context, stream, set, rows, 200, 300, format, seed: rows);
                RunBriefly(data, Activation.Gelu, matMul.CandidatesFor(rows, format));
            }
        }

        // Outliers in few columns, as tensor cores sum them, and as they don't.
        foreach ((string Name, int Columns) pattern in OutlierPatterns.All.Where(static pattern => pattern.Name is "six columns" or "an uneven row"))
        {
            using CudaCase few = new(context, stream, set, 150, 264, 264, ElementFormat.Float16, seed: 3, OutlierPatterns.Draw(pattern, 150, 264, set.Spec.OutlierThreshold, seed: 1));
            RunBriefly(few, Activation.None, matMul.CandidatesFor(150, ElementFormat.Float16).Where(static kernel => kernel.Role == CudaKernelRole.WgmmaGemm));
        }

        // Rows that stay in registers, one, few and many, and clusters that share a tile.
        foreach (ElementFormat format in new[] { ElementFormat.Float16, ElementFormat.BFloat16 })
        {
            foreach (int rows in new[] { 1, 5, 130, 520 })
            {
                using CudaCase aligned = new(context, stream, set, rows, 704, 2104, format, seed: 1);
                RunBriefly(aligned, Activation.None, matMul.CandidatesFor(rows, format).Where(static kernel => kernel.Role is CudaKernelRole.StreamGemm or CudaKernelRole.WgmmaGemm));
            }
        }
    }

    private void RunBriefly(CudaCase data, Activation activation, IEnumerable<CudaKernelVariant> kernels)
    {
        foreach (CudaKernelVariant kernel in kernels)
        {
            log.WriteLine($"{set.Name} [{data.M},{data.K}] x [{data.N},{data.K}] {data.Format} by {kernel.Name}");
            data.Multiply(matMul, workspace, data.Format, activation, kernel);
        }
    }

    private void AgreesWithTheOracle(int m, int n, int k, ElementFormat input, ElementFormat output)
    {
        using CudaCase data = new(context, stream, set, m, n, k, input, seed: m + n);
        Compare(data, output);
        log.WriteLine($"{set.Name} [{m},{k}] x [{n},{k}] {input} -> {output}: {failures.Count} failures");
    }

    private void OutliersInFewColumns((string Name, int Columns) pattern)
    {
        const int FewM = 20, M = 150, N = 264, K = 640, WideK = 2056, LargeM = 1500, LargeN = 4200;
        float threshold = set.Spec.OutlierThreshold;
        int beforeLarge = failures.Count;
        if (pattern.Name is "some rows" or "a row's largest value")
        {
            // Rows of several warps.
            using CudaCase wide = new(context, stream, set, M, N, WideK, ElementFormat.Float16, seed: 3, OutlierPatterns.Draw(pattern, M, WideK, threshold, seed: 1));
            Compare(wide, ElementFormat.Float16);
            log.WriteLine($"{set.Name}, outliers: {pattern.Name}, long rows: {failures.Count - beforeLarge} failures");
        }

        if (pattern.Name is "six columns" or "an uneven row" or "forty columns")
        {
            // Several tiles a block, one kind beside the other.
            using CudaCase large = new(context, stream, set, LargeM, LargeN, K, ElementFormat.Float16, seed: 3, OutlierPatterns.Draw(pattern, LargeM, K, threshold, seed: 1));
            Compare(large, ElementFormat.Float16);
            foreach (ElementFormat format in Enum.GetValues<ElementFormat>())
            {
                using CudaCase original = new(context, stream, set, M, N, K, ElementFormat.Float16, seed: 3, OutlierPatterns.Draw(pattern, M, K, threshold, seed: 1));
                original.UseOriginals(format);
                Compare(original, ElementFormat.Float32);
            }

            log.WriteLine($"{set.Name}, outliers: {pattern.Name}, large, and with 16-bit weights: {failures.Count - beforeLarge} failures");
        }

        foreach ((ElementFormat input, ElementFormat output) in new[] { (ElementFormat.Float16, ElementFormat.Float16), (ElementFormat.Float16, ElementFormat.Float32), (ElementFormat.BFloat16, ElementFormat.BFloat16) })
        {
            int before = failures.Count;
            foreach (int rows in new[] { FewM, M })
            {
                using CudaCase data = new(context, stream, set, rows, N, K, input, seed: 3, OutlierPatterns.Draw(pattern, rows, K, threshold, seed: pattern.Columns));
                Compare(data, output);
            }

            log.WriteLine($"{set.Name}, outliers: {pattern.Name}, {input} -> {output}: {failures.Count - before} failures");
        }
    }

    private void Compare(CudaCase data, ElementFormat output)
    {
        float[] expected = data.Expected();
        float[]? slack = data.OutlierSlack();
        bool small = (long)data.M * data.N < 100_000;
        foreach (CudaKernelVariant kernel in matMul.CandidatesFor(data.M, output))
        {
            foreach (Activation activation in small ? Enum.GetValues<Activation>() : [Activation.None])
            {
                byte[] first = data.Multiply(matMul, workspace, output, activation, kernel);
                if (activation == Activation.None && !first.AsSpan().SequenceEqual(data.Multiply(matMul, workspace, output, activation, kernel)))
                {
                    failures.Add($"{kernel.Name}: two runs of [{data.M},{data.K}] x [{data.N},{data.K}] differ");
                }

                float[] got = CudaCase.Decode(first, output);
                float[] want = CudaCase.Decode(CudaCase.Encode(Array.ConvertAll(expected, x => Curves.Apply(x, activation)), output), output);
                float[]? off = kernel.Role == CudaKernelRole.WgmmaGemm ? slack : null;
                int wrong = Enumerable.Range(0, got.Length).FirstOrDefault(i => !Agree(got[i], want[i], expected[i], off?[i] ?? 0, activation, output), -1);
                if (wrong >= 0)
                {
                    failures.Add($"{kernel.Name}, {data.Set.Name}, [{data.M},{data.K}] x [{data.N},{data.K}] {data.Format}, {activation}: [{wrong / data.N},{wrong % data.N}] is {got[wrong]:R}, expected {want[wrong]:R}");
                }
            }
        }
    }

    /// <param name="got">The kernel's result.</param>
    /// <param name="want">The oracle's.</param>
    /// <param name="x">What it was before the activation function.</param>
    /// <param name="slack">How far from that the kernel may be; then one rounding is allowed as well.</param>
    /// <param name="activation">The activation function; none is steeper than 1.2.</param>
    /// <param name="output">The output type.</param>
    private static bool Agree(float got, float want, float x, float slack, Activation activation, ElementFormat output)
    {
        if (float.IsNaN(want) || (activation <= Activation.Relu && slack == 0))
        {
            return float.IsNaN(want) ? float.IsNaN(got) : BitConverter.SingleToInt32Bits(got) == BitConverter.SingleToInt32Bits(want);
        }

        double ulp = output switch { ElementFormat.Float16 => 1.0 / 1024, ElementFormat.BFloat16 => 1.0 / 128, _ => 4e-6 };
        double smallest = output == ElementFormat.Float16 ? 6e-8 : 1e-9 * Math.Abs(x);
        return got == want || Math.Abs((double)got - want) <= Math.Max(Math.Abs(want) * ulp, smallest) + (1.2 * slack);
    }

    /// <summary>A captured layer, replayed with other activations whose outliers are in other columns, does what a fresh call does.</summary>
    private void ReplaysWithOtherOutliers(int m, int n, int k)
    {
        using CudaCase first = new(context, stream, set, m, n, k, ElementFormat.Float16, seed: 1);
        using CudaCase second = new(context, stream, set, m, n, k, ElementFormat.Float16, seed: 20);
        CudaKernelVariant chosen = matMul.Choose(m, n, k, ElementFormat.Float16);
        CudaKernelVariant?[] kernels = m == 1 ? [chosen, null] : [chosen];
        foreach (CudaKernelVariant? kernel in kernels)
        {
            ReplaysWithOtherOutliers(first, second, kernel);
        }
    }

    private void ReplaysWithOtherOutliers(CudaCase first, CudaCase second, CudaKernelVariant? kernel)
    {
        (int m, int n, int k) = (first.M, first.N, first.K);
        byte[] one = first.Multiply(matMul, workspace, ElementFormat.Float16, Activation.None, kernel);
        using CudaBuffer input = new(context, m * k * 2), output = new(context, m * n * 2);
        using CudaGraph graph = stream.Capture(() => matMul.Multiply(
            workspace, new CudaMatrix(input.Address, ElementFormat.Float16, k), m, first.OnDevice, new CudaMatrix(output.Address, ElementFormat.Float16, n), first.BiasAddress, Activation.None, kernel));
        byte[] result = new byte[m * n * 2];
        foreach (CudaCase data in new[] { second, first, second, first })
        {
            input.Upload<byte>(CudaCase.Encode(data.A, ElementFormat.Float16), stream);
            graph.Launch(stream);
            output.Download<byte>(result, stream);
        }

        if (!result.AsSpan().SequenceEqual(one))
        {
            failures.Add($"{first.Set.Name} [{m},{k}] x [{n},{k}] by {kernel?.Name ?? "whatever is chosen"}: a graph replayed with other outlier columns in between gives other results");
        }
    }

    /// <summary>A layer whose activations are the results of the one ahead of it, in a graph that leaves no time between them, does what it does alone.</summary>
    private void InputComesFromTheKernelAhead()
    {
        const int Replays = 60;
        foreach ((int m, int k, int hidden, int n) in new[] { (200, 512, 1024, 384), (40, 512, 1024, 384), (1500, 264, 1032, 72) })
        {
            using CudaCase one = new(context, stream, set, m, hidden, k, ElementFormat.Float16, seed: 1), other = new(context, stream, set, m, hidden, k, ElementFormat.Float16, seed: 20);
            using CudaCase second = new(context, stream, set, m, n, hidden, ElementFormat.Float16, seed: 2);
            using CudaBuffer input = new(context, m * k * 2), middle = new(context, m * hidden * 2), output = new(context, m * n * 2);
            void First() => matMul.Multiply(
                workspace, new CudaMatrix(input.Address, ElementFormat.Float16, k), m, one.OnDevice, new CudaMatrix(middle.Address, ElementFormat.Float16, hidden), one.BiasAddress, Activation.None, null);
            void Second() => matMul.Multiply(
                workspace, new CudaMatrix(middle.Address, ElementFormat.Float16, hidden), m, second.OnDevice, new CudaMatrix(output.Address, ElementFormat.Float16, n), second.BiasAddress, Activation.None, null);
            byte[][] inputs = [CudaCase.Encode(one.A, ElementFormat.Float16), CudaCase.Encode(other.A, ElementFormat.Float16)], expected = [new byte[m * n * 2], new byte[m * n * 2]];
            for (int i = 0; i < inputs.Length; i++)
            {
                input.Upload<byte>(inputs[i], stream);
                First();
                stream.Synchronize();
                Second();
                output.Download<byte>(expected[i], stream);
            }

            using CudaGraph graph = stream.Capture(() =>
            {
                First();
                Second();
            });
            byte[] result = new byte[m * n * 2];
            for (int i = 0; i < Replays; i++)
            {
                input.Upload<byte>(inputs[i % 2], stream);
                graph.Launch(stream);
                output.Download<byte>(result, stream);
                if (!result.AsSpan().SequenceEqual(expected[i % 2]))
                {
                    failures.Add($"{set.Name}: [{m},{hidden}] x [{n},{hidden}] behind the layer that computes its activations differs from itself alone, replay {i}");
                    break;
                }
            }
        }
    }

    /// <summary>A row alone, by whatever kernel takes one row, has the bits that it has among 300 others.</summary>
    private void RowsAreIndependent()
    {
        using CudaCase data = new(context, stream, set, 300, 200, 640, ElementFormat.Float16, seed: 4);
        CudaKernelVariant tall = matMul.Choose(300, 200, 640, ElementFormat.Float16);
        byte[] together = data.Multiply(matMul, workspace, ElementFormat.Float16, Activation.None, tall);
        foreach (int row in new[] { 0, 2, 3, 4, 5, 6, 17, 63, 64, 128, 255, 299 })
        {
            foreach (CudaKernelVariant kernel in matMul.CandidatesFor(1, ElementFormat.Float16).Append(matMul.SingleRow(data.Input(row), data.OnDevice, ElementFormat.Float16)).OfType<CudaKernelVariant>())
            {
                byte[] alone = data.Multiply(matMul, workspace, ElementFormat.Float16, Activation.None, kernel, row, 1);
                if (!together.AsSpan(row * 200 * 2, 200 * 2).SequenceEqual(alone))
                {
                    failures.Add($"{set.Name}: row {row} alone by {kernel.Name} differs from the row among 300 by {tall.Name}");
                }
            }
        }
    }
}
