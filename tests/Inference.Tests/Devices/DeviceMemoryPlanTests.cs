using KernelGen.Inference.Benchmarks;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using Xunit;

namespace KernelGen.Inference.Tests.Devices;

public class DeviceMemoryPlanTests
{
    private const long Gigabyte = 1_000_000_000, H100 = 79 * Gigabyte;

    [Theory]
    [InlineData("llm-int8-dequantized-outliers", 0.52)]
    [InlineData("absmax-vector", 0.52)]
    [InlineData("w8a16", 0.52)]
    [InlineData("fp16", 1.001)]
    public void Parameters_take_their_share_of_16_bits(string scheme, double most)
    {
        DecoderPlan plan = Plan("opt-6.7b");
        DeviceMemoryPlan memory = Create(plan, scheme, new DeviceOptions(), H100);
        Assert.InRange(memory.ParameterBytes / (double)DeviceScheme.SixteenBitBytesOf(plan), 0.5, most);
    }

    [Fact]
    public void Original_outlier_weights_cost_a_16_bit_copy()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        long with = Create(plan, "llm-int8", new DeviceOptions(), H100).ParameterBytes, without = Create(plan, "llm-int8-dequantized-outliers", new DeviceOptions(), H100).ParameterBytes;
        Assert.Equal(plan.Matrices.Sum(static matrix => 2L * matrix.OutputFeatures * matrix.InputFeatures), with - without);
    }

    [Fact]
    public void An_int8_checkpoint_has_no_originals_to_copy()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        long int8 = DeviceMemoryPlan.Create(plan, Scheme("llm-int8"), new DeviceOptions(), static _ => 1, "GPU", H100).ParameterBytes;
        Assert.Equal(Create(plan, "llm-int8-dequantized-outliers", new DeviceOptions(), H100).ParameterBytes, int8);
    }

    [Fact]
    public void Sixty_six_billion_parameters_fit_80_gigabytes_in_int8_alone()
    {
        DecoderPlan plan = Plan("opt-66b");
        DeviceOptions options = new() { MaxBatch = 8, MaxContext = 512 };
        Assert.True(Create(plan, "llm-int8-dequantized-outliers", options, H100).Pages >= 8);
        DeviceMemoryException exception = Assert.Throws<DeviceMemoryException>(() => Create(plan, "fp16", options, H100));
        Assert.True(exception.MissingBytes > 50 * Gigabyte);
        Assert.Equal(H100, exception.FreeBytes);
    }

    [Fact]
    public void What_is_missing_is_said_in_bytes_and_by_part()
    {
        DecoderPlan plan = Plan("opt-125m");
        DeviceOptions options = new() { MaxBatch = 1, CacheTokens = 2048 };
        long needed = Create(plan, "fp16", options, H100).TotalBytes;
        Assert.Equal(needed, Create(plan, "fp16", options, needed).TotalBytes);
        DeviceMemoryException exception = Assert.Throws<DeviceMemoryException>(() => Create(plan, "fp16", options, needed - 7));
        Assert.StartsWith($"GPU lacks 7 bytes: the model needs {needed} (linear layers ", exception.Message, StringComparison.Ordinal);
        Assert.Contains("key-value cache", exception.Message, StringComparison.Ordinal);
        Assert.Equal((7, needed, needed - 7), (exception.MissingBytes, exception.RequiredBytes, exception.FreeBytes));
    }

    [Fact]
    public void The_cache_takes_what_was_asked_for_or_what_is_left()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        DeviceMemoryPlan asked = Create(plan, "llm-int8-dequantized-outliers", new DeviceOptions { CacheTokens = 1000 }, H100);
        Assert.Equal(16, asked.Pages);
        DeviceMemoryPlan all = Create(plan, "llm-int8-dequantized-outliers", new DeviceOptions { MaxBatch = 16 }, H100);
        Assert.Equal(16 * 32, all.Pages);
        long free = all.TotalBytes - (100 * all.PageBytes) - 1;
        Assert.Equal((16 * 32) - 101, Create(plan, "llm-int8-dequantized-outliers", new DeviceOptions { MaxBatch = 16 }, free).Pages);

        // One text of the whole context must fit.
        long little = all.TotalBytes - (((16 * 32) - 31) * all.PageBytes);
        Assert.Throws<DeviceMemoryException>(() => Create(plan, "llm-int8-dequantized-outliers", new DeviceOptions { MaxBatch = 16 }, little));

        // 2 (keys and values) * 32 layers * 32 heads * 128 * 64 positions * 2 bytes.
        Assert.Equal(2L * 32 * 4096 * 64 * 2, all.PageBytes);
    }

    [Fact]
    public void An_int8_cache_takes_a_byte_a_value_a_step_a_head_and_one_layer_in_16_bits()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        DeviceOptions options = new() { CacheTokens = 6400, Cache = CacheFormat.Int8 };
        DeviceMemoryPlan int8 = Create(plan, "fp16", options, H100), half = Create(plan, "fp16", options with { Cache = CacheFormat.Float16 }, H100);
        Assert.Equal((2L * 32 * 32 * 64 * (128 + 4)) + (2L * 32 * 64 * 128 * 2), int8.PageBytes);
        Assert.Equal(100 * (half.PageBytes - int8.PageBytes), half.TotalBytes - int8.TotalBytes);
        Assert.Equal(100, int8.Pages);

        // Shared by two devices, each has a layer in 16 bits of its own.
        PlacementPlan placement = PlacementPlan.Create(plan, Scheme("fp16"), options, static _ => 2, [new("a", H100 / 8), new("b", H100 / 8)]);
        Assert.Equal(int8.PageBytes + int8.SharedPageBytes, placement.Devices.Sum(static device => device.PageBytes));
        Assert.All(placement.Devices, static device => Assert.InRange(device.TotalBytes, 0, H100 / 8));
    }

    [Fact]
    public void Options_out_of_range_are_refused()
    {
        DecoderPlan plan = Plan("opt-125m");
        foreach (DeviceOptions options in (DeviceOptions[])
            [
                new() { MaxBatch = 0 }, new() { MaxBatch = 2000 }, new() { MaxContext = 0 }, new() { MaxContext = 2049 }, new() { CacheTokens = 0 },
                new() { PrefillChunk = 0 }, new() { OutlierThreshold = 0 }, new() { OutlierThreshold = float.NaN }, new() { Cache = (CacheFormat)2 },
            ])
        {
            Assert.ThrowsAny<ArgumentOutOfRangeException>(() => Create(plan, "fp16", options, H100));
        }
    }

    [Fact]
    public void A_model_whose_sizes_no_kernel_takes_is_refused_by_name()
    {
        DecoderDescription description = ModelShapes.Find("opt-125m")!;
        DecoderSupport.Check(description, [64], 50_000);
        Assert.Contains("heads have 64 dimensions, kernels exist for 80, 128", Refusal(description, [80, 128], 50_000), StringComparison.Ordinal);
        Assert.Contains("up to 3072 wide", Refusal(description, [64], 3000), StringComparison.Ordinal);
        DecoderLayerDescription odd = description.Layers[0] with
        {
            Mlp = description.Layers[0].Mlp with { Up = new("odd", 768, 3071, true), Down = new("odder", 3071, 768, true) },
        };
        Assert.Contains("'odd' is [3071, 768]", Refusal(description with { Layers = [odd] }, [64], 50_000), StringComparison.Ordinal);

        static string Refusal(DecoderDescription description, int[] headSizes, int widest) =>
            Assert.Throws<NotSupportedException>(() => DecoderSupport.Check(description, headSizes, widest)).Message;
    }

    [Theory]
    [InlineData("fp32")]
    [InlineData("absmax")]
    [InlineData("absmax-row")]
    public void A_scheme_without_device_kernels_is_refused(string scheme) =>
        Assert.Contains("use one of fp16, absmax-vector, w8a16, llm-int8", Assert.Throws<ArgumentException>(() => Scheme(scheme)).Message, StringComparison.Ordinal);

    private static DecoderPlan Plan(string shape) => DecoderPlan.Of(ModelShapes.Find(shape)!);

    private static DeviceScheme Scheme(string name) => QuantizationScheme.Parse(name).RequireCuda();

    private static DeviceMemoryPlan Create(DecoderPlan plan, string scheme, DeviceOptions options, long free) =>
        DeviceMemoryPlan.Create(plan, Scheme(scheme), options, static _ => 2, "GPU", free);
}
