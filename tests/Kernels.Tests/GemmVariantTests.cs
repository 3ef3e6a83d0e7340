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
        foreach (CpuGemmVariant variant in family.Variants)
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

    private static unsafe void CheckTile(CpuKernelFamily family, CpuGemmVariant variant, int k, int seed, Func<Random, int> value)
    {
        Random random = new(seed);
        CpuTile tile = variant.Tile;
        int[,] a = Fill(tile.M, k, () => value(random));
        int[,] b = Fill(tile.N, k, () => value(random));
        sbyte[] rows = [.. b.Cast<int>().Select(x => (sbyte)x)];
        using WeightPanels panels = new(family, tile.N, 0, k);
        panels.Pack(0, rows, k);

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
                        values[(i * stride) + j] = (byte)a[i, j];
                        break;
                }
            }
        }

        int[] c = new int[tile.M * (tile.N + 3)];
        Array.Fill(c, int.MinValue);
        variant.Gemm(ref *values, stride, ref *panels.Panel(0), panels.KGroups, ref c[0], tile.N + 3);

        sbyte[,] weights = new sbyte[tile.N, k];
        Buffer.BlockCopy(rows, 0, weights, 0, rows.Length);
        long[,] expected = ReferenceMatMul.MultiplyIntegers(a, weights);
        for (int i = 0; i < tile.M; i++)
        {
            for (int j = 0; j < tile.N + 3; j++)
            {
                // Nothing outside of the tile is written.
                long want = j < tile.N ? expected[i, j] : int.MinValue;
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
    public void Packed_weights_read_back(string set, string familyName)
    {
        CpuKernelFamily family = TestSpecs.Family(set, familyName);
        Random random = new(5);
        int rows = (2 * family.PanelWidth) + 1, k = (5 * family.KGroup) + 1;
        sbyte[] source = new sbyte[rows * k];
        random.NextBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(source.AsSpan()));
        using WeightPanels panels = new(family, rows, 0, k);
        for (int panel = 0; panel < panels.PanelCount; panel++)
        {
            int first = panel * family.PanelWidth, count = Math.Min(family.PanelWidth, rows - first);
            panels.Pack(panel, source.AsSpan(first * k, count * k), k);
        }

        for (int n = 0; n < rows; n++)
        {
            for (int j = 0; j < k; j++)
            {
                Assert.Equal(source[(n * k) + j], panels[n, j]);
            }
        }
    }
}
