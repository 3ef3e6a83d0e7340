using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Transformers;
using Xunit;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests.Devices;

public unsafe class DecoderWeightsTests
{
    [SkippableTheory]
    [InlineData("families/opt-post-ln-projected")]
    [InlineData("families/gpt2")]
    [InlineData("families/llama-gqa")]
    public void Rows_in_blocks_are_the_checkpoints_values(string name)
    {
        string folder = Folder(name);
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(folder));
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        string prefix = CheckpointTensors.PrefixOf(checkpoint, description);
        using CheckpointWeights weights = new(folder, description);
        foreach (LinearDescription layer in description.LinearLayers)
        {
            float[] stored = checkpoint.ReadSingles(prefix + layer.Name + ".weight");
            Assert.Equal(ElementFormat.Float16, weights.FormatOf(layer));
            foreach (int blockRows in (int[])[layer.OutputFeatures, 7, 1])
            {
                for (int first = 0; first < layer.OutputFeatures; first += blockRows)
                {
                    int rows = Math.Min(blockRows, layer.OutputFeatures - first);
                    Half[] values = new Half[rows * layer.InputFeatures];
                    fixed (Half* pointer = values)
                    {
                        weights.ReadRows(layer, first, rows, (byte*)pointer);
                    }

                    for (int i = 0; i < values.Length; i++)
                    {
                        int n = first + (i / layer.InputFeatures), k = i % layer.InputFeatures;
                        float expected = stored[layer.IsTransposed ? (k * layer.OutputFeatures) + n : (n * layer.InputFeatures) + k];
                        Assert.Equal(expected, (float)values[i]);
                    }
                }
            }
        }
    }

    [SkippableFact]
    public void Tables_come_in_float16_whatever_they_are_stored_in()
    {
        string folder = Folder("families/llama-gqa");
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(folder));
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        using CheckpointWeights weights = new(folder, description);
        EmbeddingDescription output = description.TokenEmbedding with { Name = description.OutputEmbedding! };
        foreach ((EmbeddingDescription table, bool isOutput, string name) in new[] { (description.TokenEmbedding, false, "model." + description.TokenEmbedding.Name), (output, true, output.Name) })
        {
            float[] stored = checkpoint.ReadSingles(name);
            Half[] values = new Half[5 * table.Size];
            fixed (Half* pointer = values)
            {
                weights.ReadTable(table, isOutput, 3, 5, pointer);
            }

            Assert.Equal(stored.AsSpan(3 * table.Size, values.Length).ToArray(), Array.ConvertAll(values, static value => (float)value));
        }
    }

    [SkippableFact]
    public void An_int8_checkpoint_gives_its_own_bytes_and_absmax()
    {
        using TemporaryFolder temporary = new();
        string folder = Path.Combine(temporary.Root, "int8");
        CheckpointConverter.ConvertAsync(Folder("families/gpt2"), folder, new ConversionOptions()).GetAwaiter().GetResult();
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(folder));
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        using CheckpointWeights weights = new(folder, description);
        LinearDescription layer = description.LinearLayers.First();
        Assert.Null(weights.FormatOf(layer));
        sbyte[] values = new sbyte[layer.OutputFeatures * layer.InputFeatures];
        fixed (sbyte* pointer = values)
        {
            weights.ReadRows(layer, 0, layer.OutputFeatures, (byte*)pointer);
        }

        string name = CheckpointTensors.PrefixOf(checkpoint, description) + layer.Name;
        Assert.Equal(checkpoint.Get(name + ".weight").Span<sbyte>().ToArray(), values);
        Assert.Equal(checkpoint.ReadSingles(name + ".SCB"), weights.AbsmaxOf(layer));
    }

    [SkippableFact]
    public void A_file_that_was_cut_off_is_an_error_and_no_crash()
    {
        using TemporaryFolder temporary = new();
        foreach (string file in Directory.GetFiles(Folder("families/opt-pre-ln")))
        {
            File.Copy(file, Path.Combine(temporary.Root, Path.GetFileName(file)));
        }

        string path = Path.Combine(temporary.Root, "model.safetensors");
        File.SetAttributes(path, FileAttributes.Normal);
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(temporary.Root));
        using CheckpointWeights weights = new(temporary.Root, description);
        using (FileStream stream = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            stream.SetLength(60_000);
        }

        CheckpointException exception = Assert.Throws<CheckpointException>(() =>
        {
            byte[] bytes = new byte[1 << 20];
            fixed (byte* pointer = bytes)
            {
                foreach (LinearDescription layer in description.LinearLayers)
                {
                    weights.ReadRows(layer, 0, layer.OutputFeatures, pointer);
                }
            }
        });
        Assert.Matches("the file ends before byte [0-9]+ now", exception.Message);
    }

    [Fact]
    public void Values_beyond_float16_are_refused_and_others_round()
    {
        float[] values = [1, -65504, 0.1f, 1e-9f, float.NaN];
        Half[] halves = new Half[values.Length];
        fixed (float* source = values)
        {
            fixed (Half* destination = halves)
            {
                HalfConversion.Convert(ElementFormat.Float32, (byte*)source, destination, values.Length, "table");
                Assert.Equal([(Half)1, (Half)(-65504), (Half)0.1f, (Half)0, Half.NaN], halves);
                HalfConversion.Convert(ElementFormat.Float32, (byte*)source, (Half*)source, values.Length, "table");
            }
        }

        Assert.Equal(halves, System.Runtime.InteropServices.MemoryMarshal.Cast<float, Half>(values)[..halves.Length].ToArray());
        float[] large = [1, 70000];
        CheckpointException exception = Assert.Throws<CheckpointException>(() =>
        {
            Half[] target = new Half[2];
            fixed (float* source = large)
            {
                fixed (Half* destination = target)
                {
                    HalfConversion.Convert(ElementFormat.Float32, (byte*)source, destination, 2, "lm_head.weight");
                }
            }
        });
        Assert.StartsWith("lm_head.weight: a value exceeds 65504", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Random_norms_have_six_outlier_features()
    {
        using RandomWeights weights = new(KernelGen.Inference.Benchmarks.ModelShapes.Find("opt-125m")!);
        (float[]? weight, float[]? bias) = weights.NormOf(new NormDescription("n", NormKind.Layer, 768, 1e-5f, true, true));
        Assert.All(weight!, static value => Assert.Equal(1, value));
        Assert.Equal(6, bias!.Count(static value => Math.Abs(value) >= 6));
        (float[]? scale, _) = weights.NormOf(new NormDescription("n", NormKind.RootMeanSquare, 768, 1e-5f, true, false));
        Assert.Equal(6, scale!.Count(static value => Math.Abs(value) >= 6));
        Half[] rows = new Half[768 * 3072];
        fixed (Half* pointer = rows)
        {
            weights.ReadRows(new LinearDescription("l", 768, 3072, true), 0, 3072, (byte*)pointer);
        }

        double deviation = Math.Sqrt(rows.Average(static value => (double)value * (double)value));
        Assert.InRange(deviation * Math.Sqrt(768), 0.99, 1.01);
    }
}
