namespace KernelGen.Inference.Checkpoints;

/// <summary>Reads what a <c>config.json</c> says about how the checkpoint's weights are quantized, and refuses what cannot be read.</summary>
internal static class StoredQuantization
{
    /// <summary>The key in <c>config.json</c>.</summary>
    public const string Key = "quantization_config";

    /// <summary>The one method that is read.</summary>
    public const string BitsAndBytes = "bitsandbytes";

    /// <summary>Whether the weights are int8 as bitsandbytes stores them; false where they are in floating point.</summary>
    /// <exception cref="CheckpointException">They are quantized in another way.</exception>
    public static bool IsInt8(ConfigReader config)
    {
        if (config.GetObject(Key) is not { } quantization)
        {
            return false;
        }

        // Early versions of transformers wrote no method.
        if (quantization.GetString("quant_method", BitsAndBytes) != BitsAndBytes)
        {
            throw quantization.Unsupported("quant_method", BitsAndBytes, "Use the original checkpoint in 16 or 32 bits.");
        }

        return quantization.GetBoolean("load_in_8bit", false) && !quantization.GetBoolean("load_in_4bit", false)
            ? true
            : throw CheckpointException.For(
                config.File, $"'{Key}' does not say load_in_8bit: the weights are in 4 bits.", "Use the original checkpoint in 16 or 32 bits.");
    }
}
