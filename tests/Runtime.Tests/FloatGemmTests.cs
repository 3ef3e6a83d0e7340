using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Backends.Cpu;
using Xunit;

namespace KernelGen.Runtime.Tests;

public class FloatGemmTests
{
    private static readonly int[] s_lanes = [4, 8, 16];

    [Property(MaxTest = 150)]
    public Property Equals_the_double_precision_oracle_within_the_bound_of_float32_summation() => Prop.ForAll(
        (from rows in Gen.Choose(0, 80)
         from n in Gen.Choose(1, 100)
         from k in Gen.Choose(1, 700)
         from format in Gen.Elements(Enum.GetValues<FloatWeightFormat>())
         from lanes in Gen.Elements(s_lanes)
         from threads in Gen.Elements(-1, 1, 2, 3)
         from bias in Gen.Elements(true, false)
         from seed in Gen.Choose(0, int.MaxValue - 1)
         select (rows, n, k, format, lanes, threads, bias, seed)).ToArbitrary(),
        c =>
        {
            Random random = new(c.seed);
            (PackedFloatWeights packed, float[] w) = Weights(random, c.format, c.n, c.k, c.lanes);
            float[] x = Values(random, c.rows * c.k, 3f);
            float[] bias = c.bias ? Values(random, c.n, 1f) : [];
            float[] y = new float[c.rows * c.n];
            FloatGemm.Multiply(x, c.rows, packed, bias, y, c.threads);

            for (int m = 0; m < c.rows; m++)
            {
                for (int n = 0; n < c.n; n++)
                {
                    double sum = 0;
                    double magnitude = 0;
                    for (int k = 0; k < c.k; k++)
                    {
                        double product = (double)x[(m * c.k) + k] * w[(n * c.k) + k];
                        sum += product;
                        magnitude += Math.Abs(product);
                    }

                    double expected = sum + (c.bias ? bias[n] : 0);
                    double bound = (Math.Min(c.k, FloatMicrokernel.BlockK) + 8) * Math.ScaleB(1, -24) * (magnitude + Math.Abs(expected));
                    double error = Math.Abs(y[(m * c.n) + n] - expected);
                    Assert.True(error <= bound, $"y[{m},{n}] is off by {error}, allowed {bound}");
                }
            }
        });

    [Theory]
    [InlineData(1, 33, 5)]
    [InlineData(97, 130, 600)]
    [InlineData(500, 70, 1030)]
    public void A_row_has_the_same_bits_alone_in_any_company_with_any_width_and_threads(int rows, int n, int k)
    {
        foreach (FloatWeightFormat format in Enum.GetValues<FloatWeightFormat>())
        {
            float[] x = Values(new Random(1), rows * k, 5f);
            float[] bias = Values(new Random(2), n, 1f);
            float[] all = new float[rows * n];
            FloatGemm.Multiply(x, rows, Weights(new Random(3), format, n, k, 0).Packed, bias, all, 1);
            foreach (int lanes in s_lanes)
            {
                PackedFloatWeights packed = Weights(new Random(3), format, n, k, lanes).Packed;
                float[] again = new float[rows * n];
                foreach (int threads in (int[])[-1, 2, 3])
                {
                    again.AsSpan().Fill(float.NaN);
                    FloatGemm.Multiply(x, rows, packed, bias, again, threads);
                    Assert.Equal(Bits(all), Bits(again));
                }

                foreach (int some in (int[])[1, 2, 3, 5, 6, 7, 13])
                {
                    int first = Math.Max(0, rows / 2 - some);
                    int count = Math.Min(some, rows - first);
                    float[] part = new float[count * n];
                    FloatGemm.Multiply(x.AsSpan(first * k, count * k), count, packed, bias, part);
                    Assert.Equal(Bits(all.AsSpan(first * n, count * n)), Bits(part));
                }
            }
        }
    }

    [Property(MaxTest = 100)]
    public unsafe Property A_row_times_panels_has_the_bits_of_a_register_tile() => Prop.ForAll(
        (from panels in Gen.Choose(1, 9)
         from k in Gen.Choose(1, 600)
         from gap in Gen.Choose(0, 40)
         from byRows in Gen.Elements(true, false)
         from seed in Gen.Choose(0, int.MaxValue - 1)
         select (panels, k, gap, byRows, seed)).ToArbitrary(),
        c =>
        {
            // Side by side in rows of a matrix, as values lie, or one after the other, as keys do.
            int width = 2 * FloatMicrokernel.PreferredLanes, ldw = c.byRows ? (c.panels * width) + c.gap : width, stride = c.byRows ? width : (c.k * width) + c.gap;
            int most = FloatMicrokernel.PanelsPerRowTile, room = (c.panels + most - 1) / most * most * width;
            Random random = new(c.seed);
            float[] x = Values(random, c.k, 3f), w = Values(random, ((c.panels - 1) * stride) + ((c.k - 1) * ldw) + width, 1f), row = new float[room], tile = new float[room];
            fixed (float* xs = x, ws = w, rows = row, tiles = tile)
            {
                FloatMicrokernel.MultiplyRow(xs, ws, stride, ldw, c.panels, c.k, rows);
                for (int panel = 0; panel < c.panels; panel++)
                {
                    FloatMicrokernel.MultiplyPanel(xs, c.k, 1, ws + (panel * stride), ldw, c.k, tiles + (panel * width), width);
                }
            }

            Assert.Equal(Bits(tile.AsSpan(0, c.panels * width)), Bits(row.AsSpan(0, c.panels * width)));
        });

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(9)]
    public void Every_half_and_every_bfloat16_widens_exactly(int rows)
    {
        ushort[] all = [.. Enumerable.Range(0, 65536).Select(i => (ushort)i)];
        Half[] finite = [.. all.Select(BitConverter.UInt16BitsToHalf).Where(Half.IsFinite)];
        float[] ones = Enumerable.Repeat(1f, rows).ToArray();
        foreach (int lanes in s_lanes)
        {
            PackedFloatWeights halves = PackedFloatWeights.Pack(finite, finite.Length, 1, lanes);
            Assert.Equal(FloatWeightFormat.Float16, halves.Format);
            float[] y = new float[rows * finite.Length];
            FloatGemm.Multiply(ones, rows, halves, default, y);
            Assert.All(Enumerable.Range(0, y.Length), i => Assert.Equal((float)finite[i % finite.Length], y[i]));

            y = new float[rows * all.Length];
            FloatGemm.Multiply(ones, rows, PackedFloatWeights.PackBFloat16(all, all.Length, 1, lanes), default, y);
            Assert.All(Enumerable.Range(0, y.Length), i => Assert.Equal(BitConverter.Int32BitsToSingle((i % all.Length) << 16), y[i]));
        }
    }

    [Fact]
    public void A_half_that_is_not_finite_reaches_its_outputs_and_no_other()
    {
        Half[] w = [.. Enumerable.Repeat((Half)0.5f, 40 * 3)];
        w[3 * 7] = Half.NaN;
        w[3 * 9] = Half.PositiveInfinity;
        PackedFloatWeights packed = PackedFloatWeights.Pack(w, 40, 3);
        float[] y = new float[40];
        FloatGemm.Multiply([1f, 2f, 3f], 1, packed, default, y);
        for (int n = 0; n < 40; n++)
        {
            Assert.Equal(n switch { 7 => float.NaN, 9 => float.PositiveInfinity, _ => 3f }, y[n]);
        }
    }

    [Fact]
    public void A_NaN_in_a_row_stays_in_that_row()
    {
        PackedFloatWeights packed = Weights(new Random(5), FloatWeightFormat.Float16, 50, 300, 0).Packed;
        float[] x = Values(new Random(6), 20 * 300, 1f);
        float[] sound = new float[20 * 50];
        FloatGemm.Multiply(x, 20, packed, default, sound);
        x[(7 * 300) + 299] = float.NaN;
        float[] y = new float[20 * 50];
        FloatGemm.Multiply(x, 20, packed, default, y);
        for (int i = 0; i < y.Length; i++)
        {
            Assert.Equal(i / 50 == 7 ? float.NaN : sound[i], y[i]);
        }
    }

    [Fact]
    public void Packing_keeps_the_stored_size_and_every_row()
    {
        foreach (FloatWeightFormat format in Enum.GetValues<FloatWeightFormat>())
        {
            (PackedFloatWeights packed, float[] w) = Weights(new Random(8), format, 64, 37, 16);
            int size = format switch { FloatWeightFormat.Float32 => 4, FloatWeightFormat.Int8 => 1, _ => 2 };
            Assert.Equal((64 * 37 * size) + (format == FloatWeightFormat.Int8 ? 64 * 4 : 0), packed.Bytes);
            float[] row = new float[37];
            for (int n = 0; n < 64; n++)
            {
                packed.UnpackRow(n, row);
                Assert.Equal(w.AsSpan(n * 37, 37).ToArray(), row);
            }
        }
    }

    [Fact]
    public void Wrong_lengths_and_sizes_are_refused()
    {
        PackedFloatWeights packed = PackedFloatWeights.Pack(new float[6], 2, 3);
        Assert.Throws<ArgumentException>(() => FloatGemm.Multiply(new float[5], 2, packed, default, new float[4]));
        Assert.Throws<ArgumentException>(() => FloatGemm.Multiply(new float[6], 2, packed, default, new float[5]));
        Assert.Throws<ArgumentException>(() => FloatGemm.Multiply(new float[6], 2, packed, new float[1], new float[4]));
        Assert.Throws<ArgumentOutOfRangeException>(() => FloatGemm.Multiply(default, -1, packed, default, default));
        Assert.Throws<ArgumentException>(() => PackedFloatWeights.Pack(new float[5], 2, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => PackedFloatWeights.Pack(default(ReadOnlySpan<float>), 0, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => PackedFloatWeights.Pack(new float[6], 2, 3, lanes: 5));
        Assert.Throws<ArgumentException>(() => PackedFloatWeights.Pack(new sbyte[6], new float[3], 2, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => packed.UnpackRow(2, new float[3]));
    }

    /// <summary>Random weights of a format, and the float32 values that they stand for.</summary>
    private static (PackedFloatWeights Packed, float[] Values) Weights(Random random, FloatWeightFormat format, int n, int k, int lanes)
    {
        float[] values = Values(random, n * k, 1f);
        switch (format)
        {
            case FloatWeightFormat.Float32:
                return (PackedFloatWeights.Pack(values, n, k, lanes), values);
            case FloatWeightFormat.Float16:
                // Scaled so that some of them are subnormal halves.
                Half[] halves = [.. values.Select(v => (Half)(v * 1e-3f))];
                return (PackedFloatWeights.Pack(halves, n, k, lanes), [.. halves.Select(h => (float)h)]);
            case FloatWeightFormat.BFloat16:
                ushort[] bits = [.. values.Select(v => (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16))];
                return (PackedFloatWeights.PackBFloat16(bits, n, k, lanes), [.. bits.Select(b => BitConverter.UInt32BitsToSingle((uint)b << 16))]);
            default:
                sbyte[] q = [.. values.Select(v => (sbyte)(v * 127))];
                float[] absmax = Values(random, n, 2f);
                PackedFloatWeights packed = PackedFloatWeights.Pack(q, absmax, n, k, lanes);
                return (packed, [.. q.Select((v, i) => v * (absmax[i / k] / 127f))]);
        }
    }

    private static float[] Values(Random random, int count, float scale)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = ((random.NextSingle() * 2) - 1) * scale;
        }

        return values;
    }

    private static int[] Bits(ReadOnlySpan<float> values) => System.Runtime.InteropServices.MemoryMarshal.Cast<float, int>(values).ToArray();
}
