using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Tests.Families;
using Xunit;

namespace KernelGen.Inference.Tests.Checkpoints;

public sealed class CheckpointReportTests
{
    [Theory]
    [InlineData("bloom")]
    [InlineData("gpt2")]
    [InlineData("gpt_neox")]
    [InlineData("llama")]
    [InlineData("qwen2")]
    public void Counts_are_those_of_the_tensors(string family)
    {
        FamilyVariant variant = FamilyConfigTests.Variant(family);
        DefinitionTensors tensors = variant.CreateTensors(1);
        using TemporaryFolder folder = new();
        tensors.Write(folder.Root, variant.Config);
        CheckpointReport report = CheckpointReport.Read(folder.Root);

        // A layer's matrices, whatever their names; biases and norms have one dimension.
        (long[] Shape, float[] Values)[] matrices = [.. tensors.All.Where(t => t.Key.Contains('0') && t.Value.Shape.Length == 2).Select(t => t.Value)];
        long all = tensors.All.Values.Sum(t => t.Values.LongLength);
        long linear = FamilyVariant.Layers * matrices.Sum(m => m.Values.LongLength);
        long outputs = FamilyVariant.Layers * matrices.Sum(m => m.Shape[family == "gpt2" ? 1 : 0]);
        Assert.Equal(family, report.Model!.Family);
        Assert.Null(report.NotSupported);
        Assert.Empty(report.Missing);
        Assert.Equal(1, report.Files);
        Assert.Equal(all, report.Parameters);
        Assert.Equal(new TensorTypeShare(TensorType.F32, "F32", tensors.All.Count, all, 4 * all), Assert.Single(report.Types));
        Assert.Equal(FamilyVariant.Layers * matrices.Length, report.LinearLayers.Count);
        Assert.Equal(0, report.QuantizedLayers);
        Assert.Equal(linear, report.LinearParameters);
        Assert.Equal(2 * all, report.SixteenBitBytes);
        Assert.Equal((2 * all) - linear + (4 * outputs), report.Int8Bytes);
        int keys = family is "llama" or "qwen2" ? 2 : 4;
        Assert.Equal(2L * 4 * FamilyVariant.Layers * keys * 6 * (family == "bloom" ? 2048 : FamilyVariant.Context), report.CacheBytes);
    }

    [Fact]
    public void Missing_tensors_are_named()
    {
        FamilyVariant variant = FamilyConfigTests.Variant("llama");
        DefinitionTensors tensors = variant.CreateTensors(1);
        tensors.All.Remove("model.layers.1.mlp.up_proj.weight");
        tensors.All.Remove("model.norm.weight");
        tensors.All.Remove("lm_head.weight");
        using TemporaryFolder folder = new();
        tensors.Write(folder.Root, variant.Config);
        Assert.Equal(["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"], CheckpointReport.Read(folder.Root).Missing);
    }

    [Fact]
    public void Of_a_model_that_cannot_be_built_there_are_the_tensors_and_the_reason()
    {
        FamilyVariant variant = FamilyConfigTests.Variant("gpt2");
        using TemporaryFolder folder = new();
        DefinitionTensors tensors = variant.CreateTensors(1);
        tensors.Write(folder.Root, variant.Config.Replace("\"gpt2\"", "\"mamba\"", StringComparison.Ordinal));
        CheckpointReport report = CheckpointReport.Read(folder.Root);
        Assert.Null(report.Model);
        Assert.Contains("mamba", report.NotSupported, StringComparison.Ordinal);
        Assert.Empty(report.LinearLayers);
        Assert.Equal(report.SixteenBitBytes, report.Int8Bytes);
        Assert.Equal(0, report.CacheBytes);
        Assert.Equal(tensors.All.Values.Sum(t => t.Values.LongLength), report.Parameters);

        File.Delete(folder.At("config.json"));
        Assert.Contains("config.json", CheckpointReport.Read(folder.Root).NotSupported, StringComparison.Ordinal);
        File.Delete(folder.At("model.safetensors"));
        Assert.Throws<CheckpointException>(() => CheckpointReport.Read(folder.Root));
    }

    [Fact]
    public void Layers_that_are_int8_already_are_counted_and_their_statistics_are_no_parameters()
    {
        using TemporaryFolder folder = new();
        FamilyVariant variant = FamilyConfigTests.Variant("llama");
        DefinitionTensors tensors = variant.CreateTensors(1);
        const string Layer = "model.layers.0.mlp.up_proj";
        (long[] shape, float[] values) = tensors.All[Layer + ".weight"];
        File.WriteAllText(folder.At("config.json"), variant.Config);
        using (SafetensorsWriter writer = new(
            folder.At("model.safetensors"),
            [
                .. tensors.All.Select(t => (t.Key, t.Key == Layer + ".weight" ? TensorType.I8 : TensorType.F32, System.Collections.Immutable.ImmutableArray.Create(t.Value.Shape))),
                (Layer + ".SCB", TensorType.F32, [shape[0]]),
            ]))
        {
            foreach ((string name, (_, float[] floats)) in tensors.All)
            {
                writer.Append(name, name == Layer + ".weight" ? new byte[values.Length] : System.Runtime.InteropServices.MemoryMarshal.AsBytes(floats.AsSpan()));
            }

            writer.Append(Layer + ".SCB", new byte[4 * shape[0]]);
            writer.Complete();
        }

        CheckpointReport report = CheckpointReport.Read(folder.Root);
        Assert.Equal(1, report.QuantizedLayers);
        Assert.Equal(tensors.All.Values.Sum(t => t.Values.LongLength), report.Parameters);
        Assert.Equal(["F32", "I8"], report.Types.Select(type => type.Name));
    }
}
