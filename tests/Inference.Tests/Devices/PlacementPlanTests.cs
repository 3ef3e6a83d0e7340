using System.Globalization;
using KernelGen.Inference.Benchmarks;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;
using Xunit;

namespace KernelGen.Inference.Tests.Devices;

public class PlacementPlanTests
{
    private const long Gigabyte = 1_000_000_000, H100 = 79 * Gigabyte;

    private static readonly DeviceOptions OneText = new() { MaxBatch = 1, MaxContext = 512 };

    [Fact]
    public void One_device_is_planned_as_it_was_alone()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        PlacementPlan placement = Create(plan, "llm-int8", OneText, [H100]);
        DeviceMemoryPlan alone = DeviceMemoryPlan.Create(plan, Scheme("llm-int8"), OneText, static _ => 2, "GPU", H100);
        Assert.Equal(alone.Parts, Assert.Single(placement.Devices).Parts);
        Assert.Equal(0, placement.Processor.Count);
    }

    [Fact]
    public void Two_devices_share_what_one_cannot_hold()
    {
        DecoderPlan plan = Plan("opt-66b");
        Assert.Throws<DeviceMemoryException>(() => Create(plan, "fp16", OneText, [H100]));
        PlacementPlan placement = Create(plan, "fp16", OneText, [H100, H100]);
        Assert.Equal(new LayerRange[] { new(0, 32), new(32, 32) }, placement.Devices.Select(static device => device.Layers).ToArray());
        Assert.Equal([true, false], placement.Devices.Select(static device => device.IsHome));
        Assert.All(placement.Devices, device => Assert.InRange(device.TotalBytes, 0, H100));
        DeviceMemoryPlan whole = DeviceMemoryPlan.Of(plan, Scheme("fp16"), OneText, static _ => 2, plan.AllLayers, isHome: true);
        Assert.Equal(whole.ParameterBytes, placement.Devices.Sum(static device => device.ParameterBytes));
    }

    [Fact]
    public void Layers_go_by_memory()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        PlacementPlan placement = Create(plan, "llm-int8-dequantized-outliers", OneText, [10 * Gigabyte, 30 * Gigabyte, 20 * Gigabyte]);
        int[] counts = [.. placement.Devices.Select(static device => device.Layers.Count)];
        Assert.Equal(32, counts.Sum());
        Assert.True(counts[0] < counts[2] && counts[2] < counts[1], string.Join(',', counts));
        Assert.Single(placement.Devices.Select(static device => device.Pages).Distinct());
    }

    [Fact]
    public void The_cache_has_as_many_pages_everywhere_as_the_fullest_device_leaves_room_for()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        DeviceOptions options = new() { MaxBatch = 64 };
        PlacementPlan placement = Create(plan, "llm-int8-dequantized-outliers", options, [14 * Gigabyte, 14 * Gigabyte]);
        int pages = placement.Devices[0].Pages;
        Assert.InRange(pages, 32, (64 * 32) - 1);
        Assert.All(placement.Devices, device => Assert.Equal(pages, device.Pages));
        Assert.All(placement.Devices, device => Assert.InRange(device.TotalBytes, 0, 14 * Gigabyte));
    }

    /// <summary>What a part of a model takes beside its layers is known before they are divided.</summary>
    [Theory]
    [InlineData("w8a16")]
    [InlineData("llm-int8-dequantized-outliers")]
    [InlineData("fp16")]
    public void No_device_takes_more_than_is_free(string scheme)
    {
        long free = (scheme == "fp16" ? 10 : 7) * Gigabyte;
        PlacementPlan placement = Create(Plan("opt-6.7b"), scheme, new DeviceOptions { MaxBatch = 64 }, [free, free]);
        Assert.InRange(placement.Devices[0].Pages, 32, (64 * 32) - 1);
        Assert.All(placement.Devices, device => Assert.InRange(device.TotalBytes, free / 2, free));
    }

    [Fact]
    public void A_device_that_holds_no_layer_is_passed_over()
    {
        PlacementPlan placement = Create(Plan("opt-6.7b"), "llm-int8-dequantized-outliers", OneText, [30 * Gigabyte, Gigabyte / 2, 30 * Gigabyte]);
        Assert.Equal(0, placement.Devices[1].Layers.Count);
        Assert.Equal(32, placement.Devices[0].Layers.Count + placement.Devices[2].Layers.Count);
    }

    [Fact]
    public void The_processor_takes_the_layers_that_fit_nowhere()
    {
        DecoderPlan plan = Plan("opt-6.7b");
        PlacementPlan placement = Create(plan, "llm-int8-dequantized-outliers", OneText, [4 * Gigabyte], 20 * Gigabyte);
        LayerRange gpu = placement.Devices[0].Layers;
        Assert.InRange(gpu.Count, 8, 20);
        Assert.Equal(new LayerRange(gpu.Count, 32 - gpu.Count), placement.Processor);
        Assert.InRange(placement.Devices[0].TotalBytes, 3.6 * Gigabyte, 4 * Gigabyte);

        // Keys and values in float32: 2 * 512 positions * 4096 * 4 bytes a layer.
        long layer = plan.LayersOf(new LayerRange(0, 1)).Single().Matrices.Sum(matrix => Scheme("llm-int8-dequantized-outliers").BytesOf(matrix, 2)) + (4L * 4096 * 4);
        Assert.Equal(placement.Processor.Count * (layer + (2L * 512 * 4096 * 4)), placement.ProcessorBytes);
    }

    [Fact]
    public void The_processor_has_nothing_to_do_where_everything_fits()
    {
        PlacementPlan placement = Create(Plan("opt-6.7b"), "llm-int8-dequantized-outliers", OneText, [H100], 20 * Gigabyte);
        Assert.Equal((32, 0, 0L), (placement.Devices[0].Layers.Count, placement.Processor.Count, placement.ProcessorBytes));
    }

    [Fact]
    public void What_fits_no_device_is_said_with_what_each_has()
    {
        string message = Assert.Throws<DeviceMemoryException>(() => Create(Plan("opt-66b"), "fp16", OneText, [60 * Gigabyte, 20 * Gigabyte])).Message;
        Assert.Matches("^[0-9]+ of the model's 64 layers fit no device: GPU 0 with 60000000000 free takes [0-9]+ .*, GPU 1 with 20000000000 free takes [0-9]+ ", message);
        Assert.Contains("--device cuda:0,cpu", message, StringComparison.Ordinal);

        // Alone, the same advice.
        Assert.Contains("--device cuda:0,cpu", Assert.Throws<DeviceMemoryException>(() => Create(Plan("opt-66b"), "fp16", OneText, [60 * Gigabyte])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_processor_without_memory_is_refused_in_bytes()
    {
        DeviceMemoryException exception = Assert.Throws<DeviceMemoryException>(() => Create(Plan("opt-66b"), "fp16", OneText, [60 * Gigabyte], 10 * Gigabyte));
        Assert.StartsWith("The processor lacks ", exception.Message, StringComparison.Ordinal);
        Assert.Equal(10 * Gigabyte, exception.FreeBytes);
        Assert.Contains("keys and values", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Home_needs_room_for_embeddings_and_buffers_even_with_the_processor() =>
        Assert.Throws<DeviceMemoryException>(() => Create(Plan("opt-66b"), "fp16", OneText, [Gigabyte], 1000 * Gigabyte));

    private static DecoderPlan Plan(string shape) => DecoderPlan.Of(ModelShapes.Find(shape)!);

    private static DeviceScheme Scheme(string name) => QuantizationScheme.Parse(name).RequireCuda();

    private static PlacementPlan Create(DecoderPlan plan, string scheme, DeviceOptions options, long[] gpus, long? processor = null) => PlacementPlan.Create(
        plan,
        Scheme(scheme),
        options,
        static _ => 2,
        [.. gpus.Select(static (free, i) => new PlacementDevice(string.Create(CultureInfo.InvariantCulture, $"GPU {i}"), free))],
        processor is { } bytes ? new PlacementDevice("The processor", bytes) : null);
}
