using KernelGen.MatMul;
using KernelGen.Memory;
using KernelGen.Quantization;
using KernelGen.Reference;
using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>Every microkernel alone, bit for bit, over the residues of its K group, on random, all-maximal and all-minimal operands.</summary>
public sealed class GemmVariantTests
{
    public static TheoryData<string, string> Families() => TestSpecs.Families();

    [Theory]
    [MemberData(nameof(Families))]
    public void Every_tile_is_exact_for_every_residue_of_k(string set, string familyName)
    {
        CpuKernelFamily family = TestSpecs.Family(set, familyName);
        int c = family.KGroup;
        foreach (CpuGemmVariant variant in family.WideRow is { } wide ? [.. family.Variants, OneRow(wide)] : family.Variants)
        {
            foreach (int k in new[] { 1, c, c + 1, (2 * c) - 1, 31, 64, 65, 193 }.Distinct())
            {
                CheckTile(family, variant, k, seed: k, random => random.Next(-127, 128));
            }

            CheckTile(family, variant, 1024, seed: 1, _ => 127);
            CheckTile(family, variant, 1024, seed: 2, _ => -127);
            CheckTile(family, variant, 1024, seed: 3, random => random.Next(2) == 0 ? -127 : 127);
        }
    }

    private static CpuGemmVariant OneRow(CpuGemmRowVariant wide) => new(
        wide.Name,
        wide.Tile,
        (ref byte a, nint aStride, ref byte panel, nint kGroups, ref int start, nint startStride, ref int c, nint cStride) => wide.Gemm(ref a, ref panel, kGroups, ref c));

    private static unsafe void CheckTile(CpuKernelFamily family, CpuGemmVariant variant, int k, int seed, Func<Random, int> value)
    {
        Random random = new(seed);
        CpuTile tile = variant.Tile;
        int[,] a = Fill(tile.M, k, () => value(random));
        int[,] b = Fill(tile.N, k, () => value(random));
        sbyte[] rows = [.. b.Cast<int>().Select(x => (sbyte)x)];
        using WeightPanels panels = new(family, tile.N, 0, k);
        int width = family.PanelWidth;
        for (int panel = 0; panel < panels.PanelCount; panel++)
        {
            panels.Pack(panel, rows.AsSpan(panel * width * k, width * k), k);
        }

        panels.Complete();

        int elementBytes = family.Format == ActivationFormat.Int16 ? 2 : 1;
        nint stride = ((k + 63) & ~63) * elementBytes;
        using Workspace workspace = Workspace.Rent(stride * tile.M);
        byte* values = workspace.Take<byte>(stride * tile.M);

        // What lies behind K must not matter: the panel is zero there.
        random.NextBytes(new Span<byte>(values, (int)stride * tile.M));
        for (int i = 0; i < tile.M; i++)
        {
            for (int j = 0; j < k; j++)
            {
                switch (family.Format)
                {
                    case ActivationFormat.Int16:
                        ((short*)(values + (i * stride)))[j] = (short)a[i, j];
                        break;
                    case ActivationFormat.UInt8:
                        values[(i * stride) + j] = (byte)(a[i, j] + 128);
                        break;
                    default:
                        values[(i * stride) + j] = unchecked((byte)a[i, j]);
                        break;
                }
            }
        }

        int[] c = new int[tile.M * (tile.N + 3)];
        Array.Fill(c, int.MinValue);
        variant.Gemm(ref *values, stride, ref *panels.Panel(0), panels.KGroups, ref *(int*)panels.Panel(0), 0, ref c[0], tile.N + 3);
        if (family.Format == ActivationFormat.UInt8 && tile.N == width)
        {
            // The same from a start of its own for every row.
            int[] start = new int[tile.M * (width + 1)], other = new int[c.Length];
            for (int i = 0; i < start.Length; i++)
            {
                start[i] = i % (width + 1) < width ? ((int*)panels.Panel(0))[i % (width + 1)] + (1000 * i) : int.MaxValue;
            }

            Array.Fill(other, int.MinValue);
            variant.Gemm(ref *values, stride, ref *panels.Panel(0), panels.KGroups, ref start[0], width + 1, ref other[0], tile.N + 3);
            for (int i = 0; i < c.Length; i++)
            {
                int row = i / (tile.N + 3), column = i % (tile.N + 3), more = column < width ? 1000 * ((row * (width + 1)) + column) : 0;
                Assert.True(other[i] == c[i] + more, $"{variant.Name}, K = {k}, [{row},{column}]: {other[i]}, not {c[i] + more}");
            }
        }

        // The kernel multiplies what the panel holds; the product of what packing took from it with activations plus 128 is added afterwards.
        sbyte[,] weights = new sbyte[tile.N, k];
        int[] taken = new int[tile.N];
        for (int n = 0; n < tile.N; n++)
        {
            for (int j = 0; j < k; j++)
            {
                int part = panels.Corrections?[n / width, n % width, j] ?? 0;
                weights[n, j] = (sbyte)(panels[n, j] - part);
                taken[n] += part;
            }
        }

        long[,] expected = ReferenceMatMul.MultiplyIntegers(a, weights);
        for (int i = 0; i < tile.M; i++)
        {
            for (int j = 0; j < tile.N + 3; j++)
            {
                // Nothing outside of the tile is written.
                long want = j < tile.N ? expected[i, j] - (128 * taken[j]) : int.MinValue;
                Assert.True(want == c[(i * (tile.N + 3)) + j], $"{variant.Name}, K = {k}, [{i},{j}]: {c[(i * (tile.N + 3)) + j]}, not {want}");
            }
        }
    }

    private static int[,] Fill(int rows, int columns, Func<int> value)
    {
        int[,] matrix = new int[rows, columns];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
            {
                matrix[i, j] = value();
            }
        }

        return matrix;
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Whole_products_are_exact_on_full_range_operands(string set, string familyName)
    {
        CpuKernelFamily family = TestSpecs.Family(set, familyName);
        Func<Random, int>[] values = [random => random.Next(-127, 128), _ => 127, _ => -127, random => random.Next(2) == 0 ? -127 : 127];
        foreach (int m in new[] { 1, 2, 15, 16, 17, 32, 33, 50, 64, 65, 100, 130 })
        {
            foreach (Func<Random, int> value in values)
            {
                foreach (int threads in new[] { 1, 3 })
                {
                    // Of one row a kernel takes several panels at once, and the rest one by one.
                    CheckProduct(family, m, n: ((m == 1 ? 6 : 2) * family.PanelWidth) - 1, k: 133, new Random(m), value, threads);
                }
            }
        }
    }

    private static unsafe void CheckProduct(CpuKernelFamily family, int m, int n, int k, Random random, Func<Random, int> value, int threads)
    {
        int[,] a = Fill(m, k, () => value(random));
        sbyte[,] w = new sbyte[n, k];
        float[] activations = new float[m * k];
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < k; j++)
            {
                // With 127 in it a row is its own quantization.
                a[i, j] = j == 0 ? 127 : a[i, j];
                activations[(i * k) + j] = a[i, j];
            }
        }

        using WeightPanels panels = new(family, n, 0, k);
        sbyte[] rows = new sbyte[n * k];
        for (int i = 0; i < rows.Length; i++)
        {
            rows[i] = w[i / k, i % k] = (sbyte)value(random);
        }

        for (int panel = 0; panel < panels.PanelCount; panel++)
        {
            int first = panel * family.PanelWidth, count = Math.Min(family.PanelWidth, n - first);
            panels.Pack(panel, rows.AsSpan(first * k, count * k), k);
        }

        panels.Complete();

        int padded = panels.PanelCount * family.PanelWidth;
        int[] c = new int[(m + family.Variants[^1].Tile.M) * padded];
        Int8Spec spec = new(OutlierPolicy.None);
        CpuKernelFamily plain = TestSpecs.Family("NoOutliers", $"{family.InstructionSet}x{TestSpecs.All["NoOutliers"].CpuFamilies.First(f => f.InstructionSet == family.InstructionSet).PanelWidth}");
        fixed (float* source = activations)
        {
            fixed (int* result = c)
            {
                using QuantizedActivations quantized = new ActivationQuantizer(spec, plain, 6, 1)
                    .Quantize(new ActivationMatrix<float>(source, m, k, k), []);
                new Int8MatMul(spec, family, CpuSchedule.Default(family, m)).MultiplyInt32(quantized, panels, result, padded, threads);
            }
        }

        long[,] expected = ReferenceMatMul.MultiplyIntegers(a, w);
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                Assert.True(
                    expected[i, j] == c[(i * padded) + j],
                    $"{TestSpecs.FamilyName(family)}, {m}x{n}x{k}, [{i},{j}]: {c[(i * padded) + j]}, not {expected[i, j]}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Packed_weights_read_back(string set, string familyName)
    {
        CpuKernelFamily family = TestSpecs.Family(set, familyName);
        Random random = new(5);
        int rows = (2 * family.PanelWidth) + 1, k = (5 * family.KGroup) + 1;
        sbyte[] source = new sbyte[rows * k];
        for (int i = 0; i < source.Length; i++)
        {
            source[i] = (sbyte)random.Next(-127, 128);
        }

        using WeightPanels panels = new(family, rows, 0, k);
        for (int panel = 0; panel < panels.PanelCount; panel++)
        {
            int first = panel * family.PanelWidth, count = Math.Min(family.PanelWidth, rows - first);
            panels.Pack(panel, source.AsSpan(first * k, count * k), k);
        }

        panels.Complete();

        for (int n = 0; n < rows; n++)
        {
            for (int j = 0; j < k; j++)
            {
                Assert.Equal(source[(n * k) + j], panels[n, j]);
            }
        }
    }
}
