using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using Xunit;
using Xunit.Abstractions;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests.Families;

/// <summary>Every scheme on every family: each loads, runs, and is as near to float32 as its bits allow.</summary>
public sealed class FamilySchemeTests(ITestOutputHelper output)
{
    public static TheoryData<string> Families => ["bloom", "gpt2", "gpt-neox", "llama-gqa", "opt-pre-ln", "opt-post-ln-projected"];

    [SkippableTheory]
    [MemberData(nameof(Families))]
    public void The_logits_of_every_scheme_are_near_those_of_float32(string family)
    {
        string name = "families/" + family;
        int[] ids = GoldenIds(name, "input_ids")[..40];
        float[] expected = Run(Model(name), ids);
        double size = Math.Sqrt(expected.Sum(v => (double)v * v));
        Assert.All(QuantizationScheme.All, scheme =>
        {
            using TransformerModel model = TransformerModel.Load(Folder(name), scheme.CreateFactory());
            float[] actual = Run(model, ids);
            double error = Math.Sqrt(expected.Zip(actual, (e, a) => ((double)e - a) * (e - a)).Sum()) / size;
            output.WriteLine($"{family} {scheme.Name}: {error:P3}");
            Assert.InRange(error, scheme.Name == "fp32" ? 0 : 1e-6, scheme.Name switch { "fp32" => 0, "absmax" => 0.15, "absmax-row" => 0.1, _ => 0.05 });
        });
    }

    [Fact]
    public void A_transposed_layer_is_quantized_as_the_one_that_it_is_the_transpose_of()
    {
        // The same numbers stored both ways round, in a shape with a rest in every direction.
        const int N = 71, K = 45;
        using TemporaryFolder folder = new();
        DefinitionTensors tensors = new(TensorType.F16, 3);
        tensors.Add("rows", 1, 0, N, K);
        float[] rows = tensors.All["rows"].Values;
        tensors.All.Add("columns", ([K, N], [.. Enumerable.Range(0, N * K).Select(i => rows[(i % N * K) + (i / N)])]));
        tensors.Write(folder.Root, "{}");
        using Checkpoint checkpoint = Checkpoint.Open(folder.Root);
        Random random = new(4);
        float[] input = [.. Enumerable.Range(0, 9 * K).Select(i => (random.NextSingle() - 0.5f) * (i % K == 7 ? 40 : 1))];
        foreach (QuantizationScheme scheme in QuantizationScheme.All)
        {
            float[] straight = Multiply(new LinearLayerSource("rows", N, K, checkpoint.Get("rows"), null));
            float[] transposed = Multiply(new LinearLayerSource("columns", N, K, checkpoint.Get("columns"), null) { IsTransposed = true });
            Assert.Equal(straight, transposed);

            float[] Multiply(LinearLayerSource source)
            {
                using LinearLayer layer = scheme.CreateFactory()(source);
                float[] result = new float[9 * N];
                layer.Forward(input, 9, result);
                return result;
            }
        }
    }

    private static float[] Run(TransformerModel model, int[] ids) => Logits(model, model.Forward(ids, model.CreateCache(ids.Length)));
}
