using KernelGen.Backends.Ilgpu;
using KernelGen.Kernels.Gpu;

namespace KernelGen.Kernels.Ilgpu;

/// <summary>
/// The whole kernel suite for one accelerator. Without a curved activation function results must equal the oracle's bit for bit, for every variant,
/// tile edge, policy, type and row kind; the curves must agree within one rounding of the output type.
/// </summary>
internal sealed class IlgpuSuite(IlgpuAccelerator accelerator, TextWriter log)
{
    /// <summary>Tails of every tile, exact tiles, one more and one less, K of one and of many blocks.</summary>
    private static readonly (int M, int N, int K, ElementFormat In, ElementFormat Out)[] Shapes =
    [
        (1, 70, 200, ElementFormat.Float16, ElementFormat.Float16),
        (7, 33, 384, ElementFormat.Float16, ElementFormat.BFloat16),
        (8, 16, 128, ElementFormat.BFloat16, ElementFormat.BFloat16),
        (9, 130, 129, ElementFormat.Float32, ElementFormat.Float32),
        (65, 66, 513, ElementFormat.Float32, ElementFormat.Float16),
    ];

    /// <summary>Shapes of many tiles, for accelerators that multiply in parallel.</summary>
    private static readonly (int M, int N, int K, ElementFormat In, ElementFormat Out)[] LargeShapes =
    [
        (128, 256, 128, ElementFormat.Float32, ElementFormat.Float16),
        (129, 264, 700, ElementFormat.Float16, ElementFormat.Float16),
        (257, 333, 130, ElementFormat.BFloat16, ElementFormat.Float32),
        (640, 1152, 384, ElementFormat.Float16, ElementFormat.Float16),
        (3, 9000, 2600, ElementFormat.Float16, ElementFormat.Float16),
        (1100, 2100, 770, ElementFormat.Float16, ElementFormat.BFloat16),
    ];

    /// <summary>What went wrong; empty when everything passed.</summary>
    public List<string> Failures { get; } = [];

    /// <summary>Multiplications that were compared.</summary>
    public int Comparisons { get; private set; }

    /// <summary>The variants that were compared.</summary>
    public HashSet<string> Compared { get; } = new(StringComparer.Ordinal);

    /// <summary>Runs everything; large shapes are left to devices that are fast enough for them.</summary>
    public void Run()
    {
        bool isSlow = accelerator.Device.Kind == IlgpuDeviceKind.Cpu || accelerator.Device.Multiprocessors < 8;
        foreach (Int8KernelSet set in IlgpuSpecs.All)
        {
            using IlgpuInt8MatMul matMul = new(accelerator, set);
            int number = 0;
            foreach ((int m, int n, int k, ElementFormat input, ElementFormat output) in isSlow ? Shapes : Shapes.Concat(LargeShapes))
            {
                using IlgpuCase data = new(accelerator, set, m, n, k, input, originals: number++ % 2 == 1);
                Compare(data, matMul, output, everyActivation: number == 4);
                log.WriteLine($"{set.Name} [{m},{k}] x [{n},{k}] {input} -> {output}: {Failures.Count} failures so far");
            }

            if (set.Spec.Outliers is OutlierPolicy.Elements or OutlierPolicy.None && set.Spec.Granularity == QuantizationGranularity.Vector)
            {
                RowsAreIndependent(set, matMul);
            }
        }
    }

    private void Compare(IlgpuCase data, IlgpuInt8MatMul matMul, ElementFormat output, bool everyActivation)
    {
        foreach (bool withBias in new[] { true, false })
        {
            float[] expected = data.Expected(withBias);
            foreach (IlgpuKernelVariant kernel in matMul.CandidatesFor(data.M))
            {
                Compared.Add(kernel.Name);
                foreach (Activation activation in everyActivation && withBias ? Enum.GetValues<Activation>() : [Activation.None])
                {
                    Comparisons++;
                    byte[] bytes = data.Multiply(matMul, output, activation, kernel, withBias);
                    float[] got = IlgpuCase.Decode(bytes, output);
                    float[] want = IlgpuCase.Decode(IlgpuCase.Encode(Array.ConvertAll(expected, x => Curves.Apply(x, activation)), output), output);
                    int[] wrong = [.. Enumerable.Range(0, got.Length).Where(i => !Agree(got[i], want[i], expected[i], activation, output))];
                    if (wrong.Length > 0)
                    {
                        int first = wrong[0];
                        Failures.Add(
                            $"{kernel.Name}, {data.Set.Name}, [{data.M},{data.K}] x [{data.N},{data.K}] {data.Format} -> {output}, {activation}{(withBias ? ", bias" : "")}: "
                            + $"{wrong.Length} wrong, [{first / data.N},{first % data.N}] is {got[first]:R}, expected {want[first]:R}");
                    }
                }
            }
        }
    }

    private static bool Agree(float got, float want, float x, Activation activation, ElementFormat output)
    {
        if (float.IsNaN(want) || activation <= Activation.Relu)
        {
            return float.IsNaN(want) ? float.IsNaN(got) : BitConverter.SingleToInt32Bits(got) == BitConverter.SingleToInt32Bits(want);
        }

        double ulp = output switch { ElementFormat.Float16 => 1.0 / 1024, ElementFormat.BFloat16 => 1.0 / 128, _ => 4e-6 };
        double smallest = output == ElementFormat.Float16 ? 6e-8 : 1e-9 * Math.Abs(x);
        return Math.Abs((double)got - want) <= Math.Max(Math.Abs(want) * ulp, smallest);
    }

    /// <summary>A row alone, by whatever kernel takes one row, has the bits that it has among 70 others.</summary>
    private void RowsAreIndependent(Int8KernelSet set, IlgpuInt8MatMul matMul)
    {
        using IlgpuCase data = new(accelerator, set, 70, 40, 320, ElementFormat.Float16, originals: false);
        IlgpuKernelVariant tall = matMul.Choose(70);
        byte[] together = data.Multiply(matMul, ElementFormat.Float16, Activation.None, tall);
        foreach (int row in new[] { 0, 2, 6, 63, 64, 69 })
        {
            foreach (IlgpuKernelVariant kernel in matMul.CandidatesFor(1))
            {
                byte[] alone = data.Multiply(matMul, ElementFormat.Float16, Activation.None, kernel, true, row, 1);
                if (!together.AsSpan(row * 40 * 2, 40 * 2).SequenceEqual(alone))
                {
                    Failures.Add($"{set.Name}: row {row} alone by {kernel.Name} differs from the row among 70 by {tall.Name}");
                }
            }
        }
    }
}
