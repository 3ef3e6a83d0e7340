using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>The families of models that can be built, and the choice among them.</summary>
internal static class ModelFamilies
{
    private static readonly (string ModelType, string[] Architectures, Func<ConfigReader, DecoderDescription> Describe)[] s_families =
    [
        (OptFamily.ModelType, OptFamily.Architectures, OptFamily.Describe),
        (BloomFamily.ModelType, BloomFamily.Architectures, BloomFamily.Describe),
        (Gpt2Family.ModelType, Gpt2Family.Architectures, Gpt2Family.Describe),
        (GptNeoXFamily.ModelType, GptNeoXFamily.Architectures, GptNeoXFamily.Describe),
        (LlamaFamily.LlamaType, LlamaFamily.LlamaArchitectures, LlamaFamily.DescribeLlama),
        (LlamaFamily.MistralType, LlamaFamily.MistralArchitectures, LlamaFamily.DescribeMistral),
        (LlamaFamily.Qwen2Type, LlamaFamily.Qwen2Architectures, LlamaFamily.DescribeQwen2),
    ];

    /// <summary>Reads the description of the model that a config describes.</summary>
    /// <exception cref="CheckpointException">It names another family, or a key is missing or wrong.</exception>
    public static DecoderDescription Describe(ConfigReader config)
    {
        string[] architectures = config.GetStrings("architectures");
        string? modelType = config.Has("model_type") ? config.GetString("model_type") : null;
        foreach (var family in s_families)
        {
            bool architectureFits = architectures.Intersect(family.Architectures).Any();
            if (modelType is null ? architectureFits : modelType == family.ModelType)
            {
                return architectureFits || architectures.Length == 0
                    ? family.Describe(config)
                    : throw config.Unsupported("architectures", $"one of {string.Join(", ", family.Architectures)}, since 'model_type' is \"{family.ModelType}\"", "Correct the one that is wrong.");
            }
        }

        throw modelType is null && architectures.Length == 0
            ? CheckpointException.For(config.File, "neither 'model_type' nor 'architectures' says what the model is.", $"Supported are {SupportedText()}.")
            : Unsupported(config, modelType is null ? "architectures" : "model_type");
    }

    private static CheckpointException Unsupported(ConfigReader config, string key) => config.Unsupported(
        key,
        $"one of {string.Join(", ", key == "model_type" ? s_families.Select(f => f.ModelType) : s_families.SelectMany(f => f.Architectures))}",
        $"Use a checkpoint of a supported family: {SupportedText()}.");

    private static string SupportedText() => string.Join("; ", s_families.Select(f => $"{f.ModelType} ({string.Join(", ", f.Architectures)})"));
}
