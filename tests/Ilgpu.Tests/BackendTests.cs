using KernelGen.Kernels.Ilgpu;
using Xunit;

namespace KernelGen.Ilgpu.Tests;

/// <summary>The backend's surface: devices, refusals, strides. Numbers are the suite's part.</summary>
public sealed class BackendTests : IDisposable
{
    private readonly IlgpuContext context = new();
    private readonly IlgpuAccelerator accelerator;

    public BackendTests() => accelerator = context.Open(context.Devices.Single(device => device.Kind == IlgpuDeviceKind.Cpu));

    public void Dispose()
    {
        accelerator.Dispose();
        context.Dispose();
    }

    [Fact]
    public void The_accelerator_on_the_processor_is_always_there_and_comes_last()
    {
        Assert.Equal(IlgpuDeviceKind.Cpu, context.Devices[^1].Kind);
        Assert.Null(context.Devices[^1].Remark);
        Assert.Null(context.Best.Remark);
    }

    [Fact]
    public void A_device_of_another_context_is_refused()
    {
        using IlgpuContext other = new();
        Assert.Contains("another context", Assert.Throws<ArgumentException>(() => other.Open(accelerator.Device)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_set_without_ILGPU_kernels_is_refused_with_the_remedy()
    {
        ArgumentException refusal = Assert.Throws<ArgumentException>(() => new IlgpuInt8MatMul(accelerator, KernelGen.Kernels.Specs.Absmax.Kernels));
        Assert.Contains("Targets = KernelTargets.Cpu | KernelTargets.Ilgpu", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Kernels_of_inline_PTX_are_not_offered_on_the_processor()
    {
        using IlgpuInt8MatMul matMul = new(accelerator, Columns.Kernels);
        Assert.All(matMul.Variants, variant => Assert.Equal(IlgpuInstruction.Portable, variant.Instruction));
        Assert.Contains(Columns.Kernels.IlgpuVariants, variant => variant.Instruction == IlgpuInstruction.MmaSync);
        Assert.Equal(1, matMul.Choose(1).BlockM);
        Assert.Equal(8, matMul.Choose(2).BlockM);
        Assert.Equal(IlgpuKernelRole.TileGemm, matMul.Choose(9).Role);
    }

    [Fact]
    public void Rows_may_lie_apart_and_what_is_between_them_stays()
    {
        const int M = 3, N = 5, K = 40, InputStride = 47, OutputStride = 9;
        Random random = new(5);
        float[] weights = [.. Enumerable.Range(0, N * K).Select(_ => random.NextSingle() - 0.5f)];
        float[] dense = [.. Enumerable.Range(0, M * K).Select(_ => random.NextSingle() - 0.5f)];
        float[] apart = new float[M * InputStride], result = new float[M * OutputStride], expected = new float[M * N];
        for (int row = 0; row < M; row++)
        {
            dense.AsSpan(row * K, K).CopyTo(apart.AsSpan(row * InputStride));
        }

        Array.Fill(result, -77f);
        using Int8Weights quantized = NoOutliers.Kernels.Quantize<float>(weights, N, K);
        using IlgpuInt8Weights uploaded = IlgpuInt8Weights.Upload(accelerator, quantized);
        using IlgpuInt8MatMul matMul = new(accelerator, NoOutliers.Kernels);
        matMul.MatMul<float, float>(apart, M, uploaded, result, options: new MatMulOptions { InputRowStride = InputStride, OutputRowStride = OutputStride });

        // Without outliers the processor's result has the same bits.
        NoOutliers.Kernels.MatMul<float, float>(dense, M, quantized, expected);
        for (int row = 0; row < M; row++)
        {
            Assert.Equal(expected.AsSpan(row * N, N).ToArray(), result.AsSpan(row * OutputStride, N).ToArray());
            Assert.All(result.AsSpan((row * OutputStride) + N, OutputStride - N).ToArray(), value => Assert.Equal(-77f, value));
        }
    }

    [Fact]
    public void Bad_arguments_are_refused_by_name()
    {
        using Int8Weights quantized = Columns.Kernels.Quantize<float>(new float[6 * 8], 6, 8);
        using IlgpuInt8Weights weights = IlgpuInt8Weights.Upload(accelerator, quantized);
        using IlgpuInt8MatMul matMul = new(accelerator, Columns.Kernels);
        Assert.Contains("the span has 7", Assert.Throws<ArgumentException>(() => matMul.MatMul<float, float>(new float[7], 1, weights, new float[6])).Message, StringComparison.Ordinal);
        Assert.Contains("6 output features", Assert.Throws<ArgumentException>(() => matMul.MatMul<float, float>(new float[8], 1, weights, new float[6], new float[5])).Message, StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => matMul.MatMul<double, float>(new double[8], 1, weights, new float[6]));
        Assert.Throws<ArgumentOutOfRangeException>(() => matMul.MatMul<float, float>(new float[8], 1, weights, new float[6], options: new MatMulOptions { OutlierThreshold = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => matMul.MatMul<float, float>(new float[8], -1, weights, new float[6]));
        matMul.MatMul<float, float>([], 0, weights, []);
        using IlgpuAccelerator second = context.Open(context.Devices[^1]);
        using IlgpuInt8MatMul elsewhere = new(second, Columns.Kernels);
        Assert.Contains("another accelerator", Assert.Throws<ArgumentException>(() => elsewhere.MatMul<float, float>(new float[8], 1, weights, new float[6])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_lower_threshold_takes_more_columns_out_and_one_more_call_none_of_them()
    {
        const int N = 20, K = 64;
        Random random = new(8);
        float[] weights = [.. Enumerable.Range(0, N * K).Select(_ => random.NextSingle() - 0.5f)], a = [.. Enumerable.Range(0, 2 * K).Select(_ => random.NextSingle() * 5)];
        using Int8Weights quantized = Columns.Kernels.Quantize<float>(weights, N, K);
        using IlgpuInt8Weights uploaded = IlgpuInt8Weights.Upload(accelerator, quantized);
        using IlgpuInt8MatMul matMul = new(accelerator, Columns.Kernels);
        float[] Multiply(float? threshold)
        {
            float[] result = new float[2 * N];
            matMul.MatMul<float, float>(a, 2, uploaded, result, options: new MatMulOptions { OutlierThreshold = threshold });
            return result;
        }

        float[] usual = Multiply(null), lower = Multiply(2f);
        Assert.NotEqual(usual, lower);
        Assert.Equal(usual, Multiply(null));
    }
}
