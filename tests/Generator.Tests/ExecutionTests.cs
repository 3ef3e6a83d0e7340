extern alias runtime;

using System.Reflection;
using KernelGen.Generator.Tests.Infrastructure;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Emit;
using Runtime = runtime::KernelGen;

namespace KernelGen.Generator.Tests;

/// <summary>
/// Generated code runs, loaded as a user's assembly, and computes what its attribute says. Every variant against the oracle is the part of
/// Kernels.Tests; here it is the way from the attribute to the kernel.
/// </summary>
public sealed class ExecutionTests
{
    private const int Rows = 5, Outputs = 21, Depth = 70;

    /// <summary>A column that every policy but <c>None</c> must take out of the int8 part.</summary>
    private const int OutlierColumn = 17;

    private static readonly float[] Weights = Values(Outputs * Depth, seed: 1);

    private static readonly float[] Activations = WithOutlier(Values(Rows * Depth, seed: 2));

    private static readonly float[] Bias = Values(Outputs, seed: 3);

    [Theory]
    [InlineData("")]
    [InlineData("Outliers = OutlierPolicy.None")]
    [InlineData("Outliers = OutlierPolicy.Elements, OutlierThreshold = 3")]
    [InlineData("Outliers = OutlierPolicy.Fixed")]
    [InlineData("Outliers = OutlierPolicy.None, Granularity = QuantizationGranularity.Tensor")]
    [InlineData("Outliers = OutlierPolicy.None, Granularity = QuantizationGranularity.Row")]
    [InlineData("Activations = ActivationQuantization.ZeroPoint")]
    [InlineData("Accumulation = Accumulation.Int64")]
    [InlineData("CpuTileM = [1], CpuTileN = [4]")]
    [InlineData("CpuTileM = [3], CpuTileN = [16]")]
    [InlineData("CpuTileM = [5, 7], CpuTileN = [8, 48]")]
    public void Multiplies_as_the_oracle_does(string arguments)
    {
        Runtime.Int8KernelSet kernels = Load($"namespace My; [Int8Kernel({arguments})] public static partial class Kernel;", "My.Kernel");
        int[]? fixedColumns = kernels.Spec.Outliers == Runtime.OutlierPolicy.Fixed ? [OutlierColumn] : null;

        float[,] oracle = Runtime.Reference.ReferenceMatMul.MatMul(
            kernels.Spec, Matrix(Activations, Rows), Matrix(Weights, Outputs), Bias, fixedColumns: fixedColumns);
        float[] result = Multiply(kernels, fixedColumns);

        for (int m = 0; m < Rows; m++)
        {
            for (int n = 0; n < Outputs; n++)
            {
                float expected = oracle[m, n], actual = result[(m * Outputs) + n];
                Assert.True(MathF.Abs(expected - actual) <= 1e-5f * (1 + MathF.Abs(expected)), $"[{m},{n}] is {actual}, the oracle has {expected}");
            }
        }
    }

    [Fact]
    public void Multiplies_as_an_obvious_loop_does_within_the_error_of_8_bits()
    {
        float[] result = Multiply(Load("[Int8Kernel(CpuTileM = [2], CpuTileN = [16])] public static partial class Kernel;", "Kernel"), null);
        double error = 0, norm = 0;
        for (int m = 0; m < Rows; m++)
        {
            for (int n = 0; n < Outputs; n++)
            {
                double exact = Bias[n];
                for (int k = 0; k < Depth; k++)
                {
                    exact += (double)Activations[(m * Depth) + k] * Weights[(n * Depth) + k];
                }

                error += Math.Pow(result[(m * Outputs) + n] - exact, 2);
                norm += exact * exact;
            }
        }

        // Steps of 1/127 of the largest value leave an error of about half a percent; a wrong column or sign leaves all of it.
        Assert.InRange(Math.Sqrt(error / norm), 1e-5, 0.02);
    }

    [Fact]
    public void The_kernel_set_is_what_the_attribute_says()
    {
        Runtime.Int8KernelSet kernels = Load(
            """
            namespace My;
            public partial struct Outer<T>
            {
                [Int8Kernel(
                    Outliers = OutlierPolicy.Elements, OutlierThreshold = 2.5f, Granularity = QuantizationGranularity.Row,
                    Activations = ActivationQuantization.ZeroPoint, Accumulation = Accumulation.Int64, CpuTileM = [2, 16], CpuTileN = [16, 20])]
                public static partial class Kernel;
            }
            """,
            "My.Outer`1+Kernel");
        Assert.Equal("My.Outer<T>.Kernel", kernels.Name);
        Assert.Equal(
            new Runtime.Int8Spec(
                Runtime.OutlierPolicy.Elements, 2.5f, Runtime.QuantizationGranularity.Row, Runtime.ActivationQuantization.ZeroPoint, Runtime.Accumulation.Int64),
            kernels.Spec);
        Assert.Contains(kernels.Variants, variant => variant.Name == "int8_gemm_s8_s32_2x16c2_avx2");
        Assert.Contains(kernels.Variants, variant => variant is { Name: "int8_gemm_s8_s32_1x4c1_scalar", Available: true });
        Assert.Contains(new Runtime.DroppedVariant("int8_gemm_s8_s32_16x16c2_avx2", "16x16 needs 36 vector registers, avx2 has 16"), kernels.Dropped);
        Assert.Contains(
            new Runtime.DroppedVariant("int8_gemm_s8_s32_2x20c2_avx2", "NR = 20 is not a multiple of the 8 int32 lanes of a 256-bit vector"), kernels.Dropped);
        Assert.Empty(kernels.Dropped.Select(dropped => dropped.Name).Intersect(kernels.Variants.Select(variant => variant.Name)));
    }

    [Fact]
    public void Two_specs_of_a_project_are_two_kernel_sets()
    {
        Assembly assembly = Emit("""
            [Int8Kernel(CpuTileM = [2], CpuTileN = [16])] public static partial class Two;
            [Int8Kernel(Outliers = OutlierPolicy.None, CpuTileM = [4], CpuTileN = [16])] public static partial class Four;
            """);
        Runtime.Int8KernelSet two = KernelsOf(assembly.GetType("Two", throwOnError: true)!), four = KernelsOf(assembly.GetType("Four", throwOnError: true)!);
        Assert.NotEqual(two.Spec, four.Spec);
        Assert.Contains(two.Variants, variant => variant.Name == "int8_gemm_s8_s32_2x16c2_avx2");
        Assert.DoesNotContain(four.Variants, variant => variant.Name == "int8_gemm_s8_s32_2x16c2_avx2");
        Assert.NotEqual(Multiply(two, null), Multiply(four, null));
    }

    private static float[] Multiply(Runtime.Int8KernelSet kernels, int[]? fixedColumns)
    {
        using Runtime.Int8Weights weights = kernels.Quantize<float>(
            Weights, Outputs, Depth, new Runtime.WeightQuantizationOptions { FixedOutlierColumns = fixedColumns });
        float[] result = new float[Rows * Outputs];
        kernels.MatMul<float, float>(Activations, Rows, weights, result, Bias);
        return result;
    }

    private static Runtime.Int8KernelSet Load(string source, string typeName) => KernelsOf(Emit(source).GetType(typeName, throwOnError: true)!);

    private static Runtime.Int8KernelSet KernelsOf(Type type)
    {
        Type closed = type.IsGenericTypeDefinition ? type.MakeGenericType(typeof(int)) : type;
        return Assert.IsType<Runtime.Int8KernelSet>(closed.GetProperty("Kernels", BindingFlags.Public | BindingFlags.Static)!.GetValue(null));
    }

    private static Assembly Emit(string source)
    {
        // The user's classes here are public and have no comment: what they lack is not at stake.
        GeneratorRun run = GeneratorRun.Of($"#pragma warning disable CS1591\n{source}").AssertCompiles();
        using MemoryStream image = new();
        EmitResult result = run.Output.Emit(image);
        Assert.True(result.Success, string.Join('\n', result.Diagnostics));
        return Assembly.Load(image.ToArray());
    }

    private static float[] Values(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 2) - 1))];
    }

    private static float[] WithOutlier(float[] activations)
    {
        for (int m = 0; m < Rows; m++)
        {
            activations[(m * Depth) + OutlierColumn] = 20 + m;
        }

        return activations;
    }

    private static float[,] Matrix(float[] values, int rows)
    {
        float[,] matrix = new float[rows, values.Length / rows];
        Buffer.BlockCopy(values, 0, matrix, 0, values.Length * sizeof(float));
        return matrix;
    }
}
