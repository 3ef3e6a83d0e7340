using KernelGen.Inference.Benchmarks;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Transformers;
using Xunit;
using static KernelGen.Inference.Tests.TransformerTestModels;

namespace KernelGen.Inference.Tests.Devices;

public class DecoderPlanTests
{
    [SkippableTheory]
    [InlineData("families/opt-pre-ln")]
    [InlineData("families/opt-post-ln-projected")]
    [InlineData("families/bloom")]
    [InlineData("families/gpt2")]
    [InlineData("families/gpt-neox")]
    [InlineData("families/llama-gqa")]
    public void Every_output_feature_of_every_layer_has_one_place_in_a_matrix(string name)
    {
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(Folder(name)));
        DecoderPlan plan = DecoderPlan.Of(description);
        HashSet<(string Layer, int Row)> seen = [];
        foreach (MatrixPlan matrix in plan.Matrices)
        {
            bool[] filled = new bool[matrix.OutputFeatures];
            foreach (RowRun run in matrix.Runs)
            {
                Assert.Equal(matrix.InputFeatures, run.Source.InputFeatures);
                for (int i = 0; i < run.Rows; i++)
                {
                    Assert.False(filled[run.TargetRow + i]);
                    filled[run.TargetRow + i] = true;
                    Assert.True(seen.Add((run.Source.Name, run.SourceRow + i)));
                }
            }

            Assert.DoesNotContain(false, filled);
        }

        Assert.Equal(description.LinearLayers.Sum(static layer => layer.OutputFeatures), seen.Count);
    }

    [Fact]
    public void A_projection_that_is_fused_head_by_head_becomes_blocks()
    {
        LinearDescription linear = new("qkv", 8, 3 * 2 * 4, HasBias: true);
        MatrixPlan plan = MatrixPlan.OfProjections(new FusedProjection(linear, FusedOrder.PerHead), heads: 2, headSize: 4);

        // Stored: q0 k0 v0 q1 k1 v1; wanted: q0 q1 k0 k1 v0 v1.
        int[] target = new int[6];
        foreach (RowRun run in plan.Runs)
        {
            target[run.TargetRow / 4] = run.SourceRow / 4;
        }

        Assert.Equal([0, 3, 1, 4, 2, 5], target);
    }

    [Fact]
    public void A_gate_comes_before_what_it_multiplies()
    {
        DecoderDescription description = ModelShapes.Find("llama-7b")!;
        MatrixPlan up = DecoderPlan.Of(description).Layers[0].Up;
        Assert.Equal(["layers.0.mlp.gate_proj", "layers.0.mlp.up_proj"], up.Runs.Select(static run => run.Source.Name));
        Assert.Equal((2 * 11008, 4096), (up.OutputFeatures, up.InputFeatures));
    }

    [Fact]
    public void Every_shape_can_be_described_and_has_the_parameters_of_its_name()
    {
        Dictionary<string, double> expected = new()
        {
            ["opt-125m"] = 0.125e9, ["opt-1.3b"] = 1.316e9, ["opt-2.7b"] = 2.65e9, ["opt-6.7b"] = 6.66e9, ["opt-13b"] = 12.85e9, ["opt-30b"] = 29.97e9,
            ["opt-66b"] = 65.7e9, ["llama-7b"] = 6.738e9, ["llama-13b"] = 13.016e9, ["llama-70b"] = 68.98e9, ["llama-3-8b"] = 8.03e9,
        };
        Assert.Equal(expected.Keys.Order(), ModelShapes.Names.Order());
        foreach ((string name, double parameters) in expected)
        {
            double bytes = DeviceScheme.SixteenBitBytesOf(DecoderPlan.Of(ModelShapes.Find(name)!));
            Assert.InRange(bytes / 2 / parameters, 0.99, 1.01);
        }
    }

    [Theory]
    [InlineData(1, 32, 1)]
    [InlineData(2, 32, 2)]
    [InlineData(3, 32, 4)]
    [InlineData(9, 32, 12)]
    [InlineData(13, 32, 16)]
    [InlineData(17, 32, 24)]
    [InlineData(25, 32, 32)]
    [InlineData(25, 28, 28)]
    [InlineData(5, 5, 5)]
    public void Batches_are_captured_in_buckets(int rows, int most, int bucket) => Assert.Equal(bucket, BatchBuckets.Of(rows, most));

    [Fact]
    public void A_bucket_holds_its_rows_and_contexts()
    {
        for (int rows = 1; rows <= 1024; rows++)
        {
            int bucket = BatchBuckets.Of(rows, 1024);
            Assert.InRange(bucket, rows, Math.Max(2 * rows, 1));
            Assert.InRange(BatchBuckets.OfContext(rows, 1000), Math.Min(rows, 1000), 1000);
        }
    }
}
