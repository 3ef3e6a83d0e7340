using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using Xunit;

namespace KernelGen.Inference.Tests.Families;

/// <summary>Configs of the families that ask for what is not supported, or contradict themselves.</summary>
public sealed class FamilyConfigTests
{
    [Theory]
    [InlineData("bloom", "\"n_head\": 4", "\"n_head\": 5", "'n_head' is 5, a divisor of the hidden size (24)")]
    [InlineData("bloom", "1e-5", "0", "'layer_norm_epsilon' is 0, a number over 0")]
    [InlineData("bloom", "\"hidden_size\": 24,", "", "'hidden_size' is missing")]
    [InlineData("gpt2", "\"n_positions\": 40", "\"n_positions\": 41", "its shape is [40, 24], [41, 24] was expected")]
    [InlineData("gpt2", "\"n_inner\": null", "\"n_inner\": 95", "c_fc.weight': its shape is [24, 96], [24, 95] was expected")]
    [InlineData("gpt2", "\"gelu_new\"", "\"softplus\"", "'activation_function' is \"softplus\"")]
    [InlineData("gpt2", "\"n_layer\"", "\"add_cross_attention\": true, \"n_layer\"", "'add_cross_attention' is true, false was expected")]
    [InlineData("gpt_neox", "\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", "'rope_parameters.rope_type' is \"yarn\", default, linear, dynamic or llama3")]
    [InlineData("gpt_neox", "\"rope_theta\": 500", "\"rope_theta\": 0.5", "'rope_parameters.rope_theta' is 0.5, a number over 1")]
    [InlineData("gpt_neox", "\"partial_rotary_factor\": 0.35", "\"partial_rotary_factor\": 0.5", "an even part of a head's 6 dimensions")]
    [InlineData("gpt_neox", "\"partial_rotary_factor\": 0.35", "\"partial_rotary_factor\": 2.5", "an even part of a head's 6 dimensions")]
    [InlineData("llama", "\"rope_parameters\": {", "\"partial_rotary_factor\": 0.5, \"rope_parameters\": {", "'partial_rotary_factor' is 0.5, 1 (all of each head)")]
    [InlineData("llama", "\"rope_type\": \"default\", \"factor\": 4", "\"rope_type\": \"linear\"", "'rope_parameters.factor' is missing")]
    [InlineData("llama", "\"rope_type\": \"default\", \"factor\": 4", "\"rope_type\": \"linear\", \"factor\": 0.5", "'rope_parameters.factor' is 0.5")]
    [InlineData("llama", "\"default\"", "\"longrope\"", "'rope_parameters.rope_type' is \"longrope\"")]
    [InlineData("llama", "\"default\", \"factor\": 4, \"low_freq_factor\": 1", "\"llama3\", \"factor\": 4, \"low_freq_factor\": 5", "'rope_parameters.high_freq_factor' is 4")]
    [InlineData("llama", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "'num_key_value_heads' is 3, a divisor of num_attention_heads (4)")]
    [InlineData("llama", "\"head_dim\": 6", "\"head_dim\": 5", "a head has 5 dimensions, rotary positions need an even number")]
    [InlineData("llama", "\"head_dim\": 6,", "", "a head has 7 dimensions, rotary positions need an even number")]
    [InlineData("mistral", "\"sliding_window\": null", "\"sliding_window\": 0", "'sliding_window' is 0")]
    [InlineData("mistral", "\"num_key_value_heads\": 2,", "", "'num_key_value_heads' is missing")]
    [InlineData("qwen2", "\"sliding_attention\"]", "\"chunked_attention\"]", "'layer_types' is")]
    [InlineData("qwen2", "\"full_attention\", ", "", "2 times full_attention or sliding_attention")]
    public void What_is_not_supported_is_refused_naming_file_key_and_value(string family, string text, string replacement, string expected)
    {
        FamilyVariant variant = Variant(family);
        using TemporaryFolder folder = new();
        Assert.Contains(text, variant.Config, StringComparison.Ordinal);
        variant.CreateTensors(1).Write(folder.Root, variant.Config.Replace(text, replacement, StringComparison.Ordinal));
        CheckpointException error = Assert.Throws<CheckpointException>(() => TransformerModel.Load(folder.Root));
        Assert.Contains(folder.Root, error.Message, StringComparison.Ordinal);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"sliding_window\": null,", "", 4096)]
    [InlineData("null", "null", null)]
    [InlineData("\"sliding_window\": null", "\"sliding_window\": 7", 7)]
    public void A_mistral_without_the_key_has_the_default_window_and_one_with_null_has_none(string text, string replacement, int? window)
    {
        FamilyVariant variant = Variant("mistral");
        using TemporaryFolder folder = new();
        variant.CreateTensors(1).Write(folder.Root, variant.Config.Replace(text, replacement, StringComparison.Ordinal));
        using TransformerModel model = TransformerModel.Load(folder.Root);
        Assert.All(model.Description.Layers, layer => Assert.Equal(window, layer.Attention.Window));
    }

    [Fact]
    public void A_transposed_weight_is_named_by_output_row_and_input_column_where_it_has_no_int8_value()
    {
        FamilyVariant variant = Variant("gpt2");
        DefinitionTensors tensors = variant.CreateTensors(1);
        tensors.All["transformer.h.1.attn.c_attn.weight"].Values[(5 * 72) + 40] = float.NaN;
        using TemporaryFolder folder = new();
        tensors.Write(folder.Root, variant.Config);
        CheckpointException error = Assert.Throws<CheckpointException>(
            () => TransformerModel.Load(folder.Root, Quantization.QuantizationScheme.Parse("llm-int8").CreateFactory()));
        Assert.Contains("transformer.h.1.attn.c_attn.weight", error.Message, StringComparison.Ordinal);
        Assert.Contains("row 40, column 5", error.Message, StringComparison.Ordinal);
    }

    internal static FamilyVariant Variant(string family) => family switch
    {
        "bloom" => new BloomVariant(),
        "gpt2" => new Gpt2Variant(),
        "gpt_neox" => new GptNeoXVariant(),
        _ => new LlamaVariant { ModelType = family },
    };
}
