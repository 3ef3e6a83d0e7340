using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Reference;
using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>The whole multiplication against the oracle, bit for bit: both compute the same float32 expression.</summary>
public sealed class MatMulTests
{
    public static TheoryData<string, string> Families() => TestSpecs.Families();

    [Theory]
    [MemberData(nameof(Families))]
    public void Tiles_minus_one_exact_and_plus_one(string set, string familyName)
    {
        CpuKernelFamily family = TestSpecs.Family(set, familyName);
        int mr = family.Variants[^1].Tile.M, nr = family.PanelWidth;
        Random random = new(1);
        foreach (int m in new[] { 1, mr - 1, mr, mr + 1, 49 }.Where(m => m > 0).Distinct())
        {
            foreach (int n in new[] { 1, nr - 1, nr, nr + 1, 67 }.Distinct())
            {
                foreach (int k in new[] { 1, 7, 64, 65 })
                {
                    Check(set, family, Matrices.WithOutlierColumns(random, m, k, Math.Min(k / 2, 3)), Matrices.Normal(random, n, k), random);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Outliers_none_one_all_and_exactly_at_the_threshold(string set, string familyName)
    {
        CpuKernelFamily family = TestSpecs.Family(set, familyName);
        Random random = new(2);
        float[,] w = Matrices.Normal(random, 19, 70);
        float[,] none = Matrices.Normal(random, 9, 70, 0.5f);
        Check(set, family, none, w, random);

        float[,] one = (float[,])none.Clone();
        one[4, 69] = -6.5f;
        Check(set, family, one, w, random);

        float[,] all = Matrices.Normal(random, 9, 70);
        for (int m = 0; m < 9; m++)
        {
            for (int k = 0; k < 70; k++)
            {
                all[m, k] += all[m, k] < 0 ? -6 : 6;
            }
        }

        Check(set, family, all, w, random);

        float[,] edge = (float[,])none.Clone();
        edge[0, 3] = 6f;
        edge[1, 5] = MathF.BitDecrement(6f);
        edge[2, 7] = -6f;
        edge[3, 0] = MathF.BitIncrement(-6f);
        Check(set, family, edge, w, random);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Zero_equal_tiny_huge_and_not_finite_rows(string set, string familyName)
    {
        CpuKernelFamily family = TestSpecs.Family(set, familyName);
        Random random = new(3);
        float[,] w = Matrices.Normal(random, 21, 33);
        for (int k = 0; k < 33; k++)
        {
            w[4, k] = 0;
            w[5, k] = float.Epsilon * k;
        }

        float[,] a = Matrices.Normal(random, 12, 33);
        for (int k = 0; k < 33; k++)
        {
            a[0, k] = 0;
            a[1, k] = 1.25f;
            a[2, k] = -3;
            a[3, k] *= 1e-40f;
            a[4, k] = float.Epsilon;
            a[5, k] *= 1e-31f;
        }

        a[6, 11] = float.NaN;
        a[7, 32] = float.PositiveInfinity;
        a[8, 0] = float.NegativeInfinity;
        a[9, 8] = 1e38f;
        a[6, 12] = 1000;
        Check(set, family, a, w, random);
        a[9, 8] = float.MaxValue;
        a[9, 9] = -float.MaxValue;
        a[7, 3] = float.NaN;
        Check(set, family, a, w, random);
    }

    [Fact]
    public void Every_activation_function_and_element_type()
    {
        Random random = new(4);
        foreach (Int8KernelSet set in new[] { Columns.Kernels, ElementsPolicy.Kernels, ZeroPoints.Kernels })
        {
            foreach (CpuKernelFamily family in set.CpuFamilies.Where(family => Backends.Cpu.CpuFeatures.Supports(family.InstructionSet)))
            {
                foreach (Activation activation in Enum.GetValues<Activation>())
                {
                    CheckTypes<float, float>(set, family, activation, random);
                    CheckTypes<Half, Half>(set, family, activation, random);
                    CheckTypes<BFloat16, BFloat16>(set, family, activation, random);
                    CheckTypes<float, Half>(set, family, activation, random);
                    CheckTypes<Half, float>(set, family, activation, random);
                }
            }
        }
    }

    [Theory]
    [InlineData("Columns")]
    [InlineData("ElementsPolicy")]
    [InlineData("FixedColumns")]
    [InlineData("NoOutliers")]
    [InlineData("OneScaleColumns")]
    [InlineData("ZeroPointColumns")]
    public void The_same_bits_for_any_number_of_threads_and_every_run(string name)
    {
        Int8KernelSet set = TestSpecs.All[name];
        Random random = new(6);
        float[] a = Matrices.Flatten(Matrices.WithOutlierColumns(random, 130, 300, 4));
        using Int8Weights w = set.Quantize<float>(Matrices.Flatten(Matrices.Normal(random, 333, 300)), 333, 300, OptionsFor(set));
        float[] expected = new float[130 * 333];
        set.MatMul<float, float>(a, 130, w, expected, options: new MatMulOptions { MaxDegreeOfParallelism = 1 });
        foreach (int threads in new[] { 1, 2, 3, 7, -1, -1, -1 })
        {
            float[] result = new float[130 * 333];
            set.MatMul<float, float>(a, 130, w, result, options: new MatMulOptions { MaxDegreeOfParallelism = threads });
            Assert.Equal(expected, result);
        }
    }

    /// <summary>So many values that threads search parts of the rows: a part's ranges hold only if no other part found more columns.</summary>
    [Theory]
    [InlineData("Columns")]
    [InlineData("OneScaleColumns")]
    [InlineData("ZeroPointColumns")]
    public void Outlier_columns_that_different_threads_find_leave_every_row(string name)
    {
        Random random = new(7);
        float[,] a = Matrices.Normal(random, 700, 512, 0.9f);
        for (int m = 0; m < 700; m++)
        {
            // Column 9 is the largest of every row, but an outlier in the first alone.
            (a[m, 9], a[m, 500]) = (m == 0 ? 6 : 5.5f, m == 699 ? -7 : -5.75f);
        }

        Check(name, TestSpecs.All[name].Preferred, a, Matrices.Normal(random, 17, 512), random);
    }

    [Property(MaxTest = 60)]
    public bool With_Elements_a_row_is_independent_of_the_rows_beside_it(int seed)
    {
        Random random = new(seed);
        Int8KernelSet set = ElementsPolicy.Kernels;
        CpuKernelFamily[] families = [.. set.CpuFamilies.Where(family => Backends.Cpu.CpuFeatures.Supports(family.InstructionSet))];
        CpuKernelFamily family = families[random.Next(families.Length)];
        int m = random.Next(2, 40), n = random.Next(1, 90), k = random.Next(1, 200);
        float[,] a = Matrices.WithOutlierColumns(random, m, k, random.Next(0, Math.Min(5, k)));
        float[] flat = Matrices.Flatten(a);
        for (int i = 0; i < 5; i++)
        {
            flat[random.Next(flat.Length)] = i == 4 ? float.NaN : 10 * random.NextSingle();
        }

        using Int8Weights w = set.Quantize(new MemoryWeightSource<float>(Matrices.Flatten(Matrices.Normal(random, n, k)), n, k), null, family);
        float[] together = new float[m * n];
        set.MatMul<float, float>(flat, m, w, together);
        for (int row = 0; row < m; row++)
        {
            float[] alone = new float[n];
            set.MatMul<float, float>(flat.AsSpan(row * k, k), 1, w, alone);
            if (!System.Runtime.InteropServices.MemoryMarshal.AsBytes(alone.AsSpan())
                .SequenceEqual(System.Runtime.InteropServices.MemoryMarshal.AsBytes(together.AsSpan(row * n, n))))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Random shapes, strides, scales and values, with NaN, infinity, subnormals, equal and zero rows among them.</summary>
    [Property(MaxTest = 200)]
    public Property Anything_equals_the_oracle() => Prop.ForAll(Gen.Choose(0, int.MaxValue).ToArbitrary(), seed =>
    {
        Random random = new(seed);
        string name = TestSpecs.All.Keys.ElementAt(random.Next(TestSpecs.All.Count));
        CpuKernelFamily[] families = [.. TestSpecs.All[name].CpuFamilies.Where(family => Backends.Cpu.CpuFeatures.Supports(family.InstructionSet))];
        int m = random.Next(1, 60), n = random.Next(1, 100), k = random.Next(1, 150);
        float[,] a = Matrices.Normal(random, m, k, MathF.Pow(10, random.Next(-42, 30)));
        float[,] w = Matrices.Normal(random, n, k, MathF.Pow(10, random.Next(-42, 5)));
        if (random.Next(2) == 0)
        {
            a = Matrices.WithOutlierColumns(random, m, k, random.Next(k + 1));
        }

        for (int i = random.Next(6); i > 0; i--)
        {
            int row = random.Next(m);
            float value = random.Next(5) switch { 0 => 0, 1 => float.Epsilon, 2 => float.NaN, 3 => float.PositiveInfinity, _ => 3.5f };
            for (int j = random.Next(k); j < k; j += random.Next(1, 4))
            {
                a[row, j] = value;
            }
        }

        Check(name, families[random.Next(families.Length)], a, w, random);
    });

    [Theory]
    [InlineData("LongSums", 133_144)]
    [InlineData("LongSums", 133_145)]
    [InlineData("LongSums", 270_000)]
    [InlineData("LongZeroPointSums", 66_572)]
    [InlineData("LongZeroPointSums", 66_573)]
    [InlineData("LongZeroPointSums", 200_000)]
    public void Sums_that_32_bits_cannot_hold_are_exact(string name, int k)
    {
        Int8KernelSet set = TestSpecs.All[name];
        float[,] a = new float[3, k], w = new float[2, k];
        for (int i = 0; i < k; i++)
        {
            (a[0, i], a[1, i], a[2, i]) = (1, -1, i % 3);
            (w[0, i], w[1, i]) = (1, i % 2 == 0 ? 1 : -1);
        }

        foreach (CpuKernelFamily family in set.CpuFamilies.Where(family => Backends.Cpu.CpuFeatures.Supports(family.InstructionSet)))
        {
            Check(name, family, a, w, new Random(1));
        }
    }

    [Fact]
    public void A_k_that_could_overflow_32_bits_is_refused_with_the_remedy()
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => NoOutliers.Kernels.Quantize<float>(new float[133_145], 1, 133_145));
        Assert.Contains("133144", error.Message, StringComparison.Ordinal);
        Assert.Contains("Accumulation.Int64", error.Message, StringComparison.Ordinal);
        NoOutliers.Kernels.Quantize<float>(new float[133_144], 1, 133_144).Dispose();
        Assert.Throws<ArgumentException>(() => ZeroPoints.Kernels.Quantize<float>(new float[66_573], 1, 66_573));
    }

    [Fact]
    public void A_weight_that_is_not_finite_is_refused_by_name()
    {
        foreach (float value in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
        {
            float[] values = new float[40 * 50];
            values[(37 * 50) + 11] = value;
            ArgumentException error = Assert.Throws<ArgumentException>(() =>
                Columns.Kernels.Quantize(new MemoryWeightSource<float>(values, 40, 50, "layers.3.fc1")));
            Assert.Contains("'layers.3.fc1'", error.Message, StringComparison.Ordinal);
            Assert.Contains("row 37, column 11", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_set_from_a_file_says_which_columns_of_a_layer_keep_their_original_weights()
    {
        string file = Path.GetTempFileName();
        try
        {
            new FixedOutlierSet([KeyValuePair.Create("layer", (IReadOnlyList<int>)[1, 0])]).Save(file);
            using Int8Weights weights = FixedColumns.Kernels.Quantize<float>(
                new float[] { 0.3f, 0.07f, 1 }, 1, 3, new() { FixedOutlierColumns = FixedOutlierSet.Load(file).ColumnsOf("layer", 3) });
            float[] result = new float[1];
            FixedColumns.Kernels.MatMul<float, float>([1, 0, 0], 1, weights, result);
            Assert.Equal([0, 1], weights.FixedOutlierColumns.ToArray());
            Assert.Equal(0.3f, result[0]);
            FixedColumns.Kernels.MatMul<float, float>([0, 1, 0], 1, weights, result);
            Assert.Equal(0.07f, result[0]);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Wrong_arguments_are_refused_by_name_and_value()
    {
        Int8KernelSet set = Columns.Kernels;
        using Int8Weights w = set.Quantize<float>(new float[6], 2, 3);
        float[] result = new float[4];
        Assert.Contains("need 6", Assert.Throws<ArgumentException>(() => set.MatMul<float, float>(new float[5], 2, w, result)).Message, StringComparison.Ordinal);
        Assert.Contains("need 4", Assert.Throws<ArgumentException>(() => set.MatMul<float, float>(new float[6], 2, w, new float[3])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => set.MatMul<float, float>(new float[6], -1, w, result));
        Assert.Throws<ArgumentException>(() => set.MatMul<float, float>(new float[6], 2, w, result, new float[3]));
        Assert.Throws<ArgumentOutOfRangeException>(() => set.MatMul<float, float>(new float[6], 2, w, result, options: new() { InputRowStride = 2 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => set.MatMul<float, float>(new float[6], 2, w, result, options: new() { OutlierThreshold = float.NaN }));
        Assert.Throws<ArgumentOutOfRangeException>(() => set.MatMul<float, float>(new float[6], 2, w, result, options: new() { MaxDegreeOfParallelism = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => set.MatMul<float, float>(new float[6], 2, w, result, options: new() { Activation = (Activation)9 }));
        Assert.Throws<NotSupportedException>(() => set.MatMul<double, float>(new double[6], 2, w, result));
        Assert.Contains("another kernel set", Assert.Throws<ArgumentException>(() => NoOutliers.Kernels.MatMul<float, float>(new float[6], 2, w, result)).Message, StringComparison.Ordinal);
        Assert.Contains("[2,4]", Assert.Throws<ArgumentException>(() => set.Quantize<float>(new float[6], 2, 4)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => FixedColumns.Kernels.Quantize<float>(new float[6], 2, 3));
        Assert.Throws<ArgumentException>(() => FixedColumns.Kernels.Quantize<float>(new float[6], 2, 3, new() { FixedOutlierColumns = [3] }));
        Assert.Throws<ArgumentException>(() => FixedColumns.Kernels.Quantize<float>(new float[6], 2, 3, new() { FixedOutlierColumns = [1, 1] }));
        Assert.Throws<ArgumentException>(() => Columns.Kernels.Quantize<float>(new float[6], 2, 3, new() { FixedOutlierColumns = [1] }));
        set.MatMul<float, float>([], 0, w, []);
        w.Dispose();
        Assert.Throws<ObjectDisposedException>(() => set.MatMul<float, float>(new float[6], 2, w, result));
    }

    [Fact]
    public async Task Weights_that_are_disposed_during_a_multiplication_stay_until_its_end()
    {
        float[] a = Matrices.Flatten(Matrices.Normal(new Random(1), 64, 512)), values = Matrices.Flatten(Matrices.Normal(new Random(2), 512, 512));
        float[] expected = new float[64 * 512];
        using (Int8Weights weights = NoOutliers.Kernels.Quantize<float>(values, 512, 512))
        {
            NoOutliers.Kernels.MatMul<float, float>(a, 64, weights, expected);
        }

        for (int round = 0; round < 50; round++)
        {
            using Int8Weights weights = NoOutliers.Kernels.Quantize<float>(values, 512, 512);
            Task multiplying = Task.Run(() =>
            {
                while (true)
                {
                    float[] result = new float[64 * 512];
                    try
                    {
                        NoOutliers.Kernels.MatMul<float, float>(a, 64, weights, result);
                    }
                    catch (ObjectDisposedException)
                    {
                        return;
                    }

                    Assert.Equal(expected, result);
                }
            });
            await Task.Delay(round % 5);
            weights.Dispose();
            await multiplying;
        }
    }

    [Fact]
    public void Kernels_exist_in_the_static_initializers_of_the_annotated_class() =>
        Assert.NotEmpty(UsesItsOwnKernels.Names);

    [Fact]
    public void A_fixed_set_does_not_keep_the_original_matrix()
    {
        WeakReference original = Quantize(out Int8Weights weights);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        Assert.False(original.IsAlive);
        float[] result = new float[64];
        FixedColumns.Kernels.MatMul<float, float>(new float[64], 1, weights, result);
        weights.Dispose();

        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        static WeakReference Quantize(out Int8Weights weights)
        {
            float[] values = new float[64 * 64];
            weights = FixedColumns.Kernels.Quantize<float>(values, 64, 64, new() { FixedOutlierColumns = [3] });
            return new WeakReference(values);
        }
    }

    [Fact]
    public void Specs_of_one_project_have_their_own_kernels()
    {
        Assert.NotEqual(ManyTiles.Kernels.Variants.Select(v => v.Name), Columns.Kernels.Variants.Select(v => v.Name));
        Assert.Equal(OutlierPolicy.Elements, ElementsPolicy.Kernels.Spec.Outliers);
        Assert.Contains(ManyTiles.Kernels.Dropped, dropped => dropped.Reason.Contains("vector registers", StringComparison.Ordinal));
        Assert.Contains(ManyTiles.Kernels.Dropped, dropped => dropped.Reason.Contains("lanes", StringComparison.Ordinal));
        Assert.All(TestSpecs.All.Values, set => Assert.Contains(set.Variants, variant => variant.Name.EndsWith("_scalar", StringComparison.Ordinal) && variant.Available));
    }

    private static WeightQuantizationOptions OptionsFor(
        Int8KernelSet set, OutlierWeights outlierWeights = OutlierWeights.Dequantized, int[]? fixedColumns = null) => new()
    {
        FixedOutlierColumns = set.Spec.Outliers == OutlierPolicy.Fixed ? fixedColumns ?? [0] : null,
        OutlierWeights = outlierWeights,
    };

    private static void Check(string name, CpuKernelFamily family, float[,] a, float[,] w, Random random)
    {
        Int8KernelSet set = TestSpecs.All[name];
        int m = a.GetLength(0), k = a.GetLength(1), n = w.GetLength(0);
        int inputStride = k + random.Next(3), outputStride = n + random.Next(3);
        float[]? bias = random.Next(2) == 0 ? null : Matrices.Flatten(Matrices.Normal(random, 1, n));
        Activation activation = random.Next(2) == 0 ? Activation.None : Activation.Relu;
        OutlierWeights outlierWeights = random.Next(2) == 0 ? OutlierWeights.Dequantized : OutlierWeights.Original;
        int[] fixedColumns = [.. Enumerable.Range(0, k).Where(_ => random.Next(4) == 0)];
        float? threshold = set.Spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements && random.Next(2) == 0 ? 0.1f + (8 * random.NextSingle()) : null;
        WeightQuantizationOptions options = OptionsFor(set, outlierWeights, fixedColumns);
        using Int8Weights weights = set.Quantize(new MemoryWeightSource<float>(Matrices.Flatten(w), n, k), options, family);
        float[] result = new float[((m - 1) * outputStride) + n];
        Array.Fill(result, -12345);
        set.MatMul<float, float>(Matrices.Flatten(a, inputStride), m, weights, result, bias, new MatMulOptions
        {
            Activation = activation,
            OutlierThreshold = threshold,
            MaxDegreeOfParallelism = random.Next(1, 4),
            InputRowStride = inputStride,
            OutputRowStride = outputStride,
        });

        float[,] expected = ReferenceMatMul.MatMul(set.Spec, a, w, bias, activation, outlierWeights, threshold, options.FixedOutlierColumns?.ToArray());
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < Math.Min(outputStride, result.Length - (i * outputStride)); j++)
            {
                float want = j < n ? expected[i, j] : -12345, got = result[(i * outputStride) + j];
                if (want != got && !(float.IsNaN(want) && float.IsNaN(got)))
                {
                    Assert.Fail($"{name} {TestSpecs.FamilyName(family)} {m}x{n}x{k} [{i},{j}]: {got:R}, not {want:R}");
                }
            }
        }
    }

    private static void CheckTypes<TInput, TOutput>(Int8KernelSet set, CpuKernelFamily family, Activation activation, Random random)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        const int M = 7, N = 45, K = 77;
        TInput[] a = Matrices.Convert<TInput>(Matrices.Flatten(Matrices.WithOutlierColumns(random, M, K, 3)));
        TInput[] w = Matrices.Convert<TInput>(Matrices.Flatten(Matrices.Normal(random, N, K, 0.1f)));
        using Int8Weights weights = set.Quantize(new MemoryWeightSource<TInput>(w, N, K), new() { OutlierWeights = OutlierWeights.Original }, family);
        TOutput[] result = new TOutput[M * N];
        set.MatMul<TInput, TOutput>(a, M, weights, result, options: new MatMulOptions { Activation = activation });
        float[,] expected = ReferenceMatMul.MatMul(
            set.Spec, Matrices.Shape(Matrices.Widen(a), M, K), Matrices.Shape(Matrices.Widen(w), N, K), null, activation, OutlierWeights.Original);
        float[] got = Matrices.Widen(result);
        bool smooth = activation is Activation.Gelu or Activation.GeluTanh or Activation.Silu;
        for (int i = 0; i < M * N; i++)
        {
            float want = Matrices.Widen(Matrices.Convert<TOutput>([expected[i / N, i % N]]))[0];
            float step = typeof(TOutput) == typeof(Half) ? 1e-3f : typeof(TOutput) == typeof(BFloat16) ? 8e-3f : 1e-6f;
            float tolerance = smooth ? (step * Math.Abs(want)) + 2e-6f : 0;
            Assert.True(Math.Abs(want - got[i]) <= tolerance, $"{set.Name} {activation} {typeof(TInput).Name}: {got[i]:R}, not {want:R}");
        }
    }
}
