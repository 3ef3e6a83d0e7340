using KernelGen.Inference.Quantization;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using Xunit;

namespace KernelGen.Inference.Tests;

public sealed class TransformerVariantTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-test-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Property(MaxTest = 60)]
    public Property Every_shape_that_a_config_can_describe_equals_the_definition() => Prop.ForAll(
        (from before in Gen.Elements(true, false)
         from noFinalNorm in Gen.Elements(true, false)
         from affine in Gen.Elements(true, false)
         from bias in Gen.Elements(true, false)
         from tied in Gen.Elements(true, false)
         from heads in Gen.Choose(1, 4)
         from headSize in Gen.Elements(1, 5, 16, 40)
         from projected in Gen.Elements(0, 7, 33)
         from activation in Gen.Elements("relu", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")
         from prefix in Gen.Elements("model.", "")
         from type in Gen.Elements(TensorType.F32, TensorType.F16, TensorType.BF16)
         from tokens in Gen.Choose(1, TransformerOptVariant.Context)
         from seed in Gen.Choose(0, 1_000_000)
         select (new TransformerOptVariant
         {
             NormBefore = before,
             RemoveFinalNorm = noFinalNorm,
             Affine = affine,
             Bias = bias,
             Tied = tied,
             Heads = heads,
             HeadSize = headSize,
             Projected = projected == heads * headSize ? 0 : projected,
             Activation = activation,
             Prefix = prefix,
             Type = type,
         },
         tokens, seed)).ToArbitrary(),
        c =>
        {
            (TransformerOptVariant variant, int tokens, int seed) = c;
            var tensors = variant.CreateTensors(seed);
            variant.Write(_folder, tensors);
            Random random = new(seed);
            int[] ids = [.. Enumerable.Range(0, tokens).Select(_ => random.Next(TransformerOptVariant.Vocabulary))];
            TransformerModel model = TransformerModel.Load(_folder);
            float[] actual = TransformerTestModels.Logits(model, model.Forward(ids, model.CreateCache(tokens)));
            double[] expected = [.. variant.Logits(tensors, ids).SelectMany(row => row)];

            // A layer norm magnifies rounding where a row hardly varies, as one of few values may.
            double tolerance = variant.Hidden < 8 ? 1e-2 : 1e-4;
            double scale = 1 + expected.Max(Math.Abs);
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.True(Math.Abs(actual[i] - expected[i]) <= tolerance * scale, $"{i}: {actual[i]} instead of {expected[i]}");
            }
        });

    [Fact]
    public void Gelu_is_accurate_to_the_resolution_of_float32()
    {
        for (double x = -4; x <= 4; x += 1 / 64.0)
        {
            float[] value = [(float)x];
            ActivationFunctions.Apply(ActivationFunction.Gelu, value);
            double expected = x * TransformerOptVariant.NormalDistribution(x);
            Assert.InRange(value[0], expected - (3e-7 * Math.Abs(expected)) - 1e-12, expected + (3e-7 * Math.Abs(expected)) + 1e-12);
        }
    }

    [Fact]
    public void A_NaN_passes_through_every_activation()
    {
        foreach (ActivationFunction activation in Enum.GetValues<ActivationFunction>())
        {
            float[] values = [float.NaN, -1f, 2f, float.NaN, 3f, 4f, 5f, 6f, 7f];
            ActivationFunctions.Apply(activation, values);
            Assert.Equal([0, 3], Enumerable.Range(0, values.Length).Where(i => float.IsNaN(values[i])));
        }
    }

    [Theory]
    [InlineData("\"model_type\": \"opt\"", "\"model_type\": \"mamba\"", "model_type", "mamba", "opt")]
    [InlineData("OPTForCausalLM", "OPTForSequenceClassification", "architectures", "OPTForSequenceClassification", "OPTForCausalLM")]
    [InlineData("\"model_type\": \"opt\", ", "", null, null, null)]
    [InlineData("\"model_type\": \"opt\", \"architectures\": [\"OPTForCausalLM\"]", "\"architectures\": [\"Other\"]", "architectures", "Other", "OPTForCausalLM")]
    [InlineData("\"model_type\": \"opt\", \"architectures\": [\"OPTForCausalLM\"]", "\"x\": 1", "model_type", "architectures", "OPTForCausalLM")]
    [InlineData("\"relu\"", "\"swiglu\"", "activation_function", "swiglu", "gelu")]
    [InlineData("\"num_attention_heads\": 3", "\"num_attention_heads\": 4", "num_attention_heads", "4", "15")]
    [InlineData("\"ffn_dim\": 37", "\"ffn_dim\": 38", "fc1.weight", "[37, 15]", "[38, 15]")]
    [InlineData("\"ffn_dim\": 37", "\"ffn_dim\": 0", "ffn_dim", "0", "1")]
    [InlineData("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", "lm_head.weight", "tensors", "config.json")]
    [InlineData("\"vocab_size\": 23", "\"vocab_size\": 24", "embed_tokens.weight", "[23, 15]", "[24, 15]")]
    public void A_config_that_does_not_fit_is_refused_naming_file_key_value_and_what_is_supported(
        string text, string replacement, string? key, string? value, string? supported)
    {
        TransformerOptVariant variant = new();
        variant.Write(_folder, variant.CreateTensors(1));
        string config = Path.Combine(_folder, "config.json");
        string json = File.ReadAllText(config);
        Assert.Contains(text, json, StringComparison.Ordinal);
        File.WriteAllText(config, json.Replace(text, replacement, StringComparison.Ordinal));
        if (key is null)
        {
            TransformerModel.Load(_folder);
            return;
        }

        CheckpointException error = Assert.Throws<CheckpointException>(() => TransformerModel.Load(_folder));
        Assert.Contains(_folder, error.Message, StringComparison.Ordinal);
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains(value!, error.Message, StringComparison.Ordinal);
        Assert.Contains(supported!, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    public void A_weight_without_an_int8_value_is_refused_naming_tensor_row_and_column(float broken)
    {
        TransformerOptVariant variant = new();
        var tensors = variant.CreateTensors(1);
        tensors["model.decoder.layers.1.fc2.weight"].Values[(4 * 37) + 11] = broken;
        variant.Write(_folder, tensors);
        CheckpointException error = Assert.Throws<CheckpointException>(() => TransformerModel.Load(_folder, WeightOnlyInt8Linear.Factory()));
        Assert.Contains("model.decoder.layers.1.fc2.weight", error.Message, StringComparison.Ordinal);
        Assert.Contains("row 4, column 11", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Caches_and_tokens_that_do_not_fit_are_refused()
    {
        TransformerOptVariant variant = new();
        variant.Write(_folder, variant.CreateTensors(1));
        TransformerModel model = TransformerModel.Load(_folder);
        TransformerModel other = TransformerModel.Load(_folder);
        Assert.Throws<ArgumentException>(() => model.Forward([], model.CreateCache(4)));
        Assert.Throws<ArgumentException>(() => model.Forward([1]));
        Assert.Throws<ArgumentException>(() => model.Forward([1, 2, 3], model.CreateCache(4), model.CreateCache(4)));
        Assert.Throws<ArgumentException>(() => model.Forward([1, 2, 3, 4, 5], model.CreateCache(4)));
        Assert.Throws<ArgumentException>(() => model.Forward([23], model.CreateCache(4)));
        Assert.Throws<ArgumentException>(() => model.Forward([1], other.CreateCache(4)));
        KeyValueCache twice = model.CreateCache(4);
        Assert.Throws<ArgumentException>(() => model.Forward([1, 2], twice, twice));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.CreateCache(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.CreateCache(TransformerOptVariant.Context + 1));
        Assert.Equal(0, twice.Length);

        KeyValueCache cleared = model.CreateCache(4);
        float[] first = model.Forward([1, 2, 3], cleared);
        cleared.Clear();
        Assert.Equal(first, model.Forward([1, 2, 3], cleared));
    }
}
