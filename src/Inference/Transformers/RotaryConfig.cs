using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// Reads rotary positions from a config: <c>rope_parameters</c> as transformers 5 writes them, or <c>rope_scaling</c> with keys beside
/// it as all before.
/// </summary>
internal static class RotaryConfig
{
    private const string SupportedTypes = "default, linear, dynamic or llama3";

    /// <summary>Reads the frequencies.</summary>
    /// <param name="config">The model's config.</param>
    /// <param name="headSize">Width of a head.</param>
    /// <param name="baseKey">Where older configs have the base of the frequencies.</param>
    /// <param name="shareKey">Where older configs have the part of a head that is turned; null where all of it is, always.</param>
    /// <param name="defaultShare">That part where the config doesn't say.</param>
    /// <exception cref="CheckpointException">A key is missing, of the wrong kind, or its value is not supported.</exception>
    public static RotaryPositions Read(
        ConfigReader config, int headSize, string baseKey = "rope_theta", string? shareKey = null, float defaultShare = 1)
    {
        const string OldShareKey = "partial_rotary_factor";
        ConfigReader? rope = config.GetObject("rope_parameters");
        ConfigReader scaling = rope ?? config.GetObject("rope_scaling") ?? config;

        (ConfigReader baseConfig, string baseName) = rope?.Has("rope_theta") == true ? (rope, "rope_theta")
            : config.Has(baseKey) ? (config, baseKey)
            : (config, "rope_theta");
        float theta = baseConfig.GetSingle(baseName, 10_000);
        if (theta <= 1)
        {
            throw baseConfig.Unsupported(baseName, "a number over 1", "Correct it, or download the file again.");
        }

        (ConfigReader shareConfig, string shareName) = rope?.Has(OldShareKey) == true ? (rope, OldShareKey)
            : shareKey is not null && config.Has(shareKey) ? (config, shareKey)
            : (config, OldShareKey);
        float share = shareConfig.GetSingle(shareName, defaultShare);
        int turned = (int)(headSize * share);
        if (shareKey is null && share != 1)
        {
            throw shareConfig.Unsupported(shareName, "1 (all of each head)", "Use a checkpoint whose heads are turned as a whole.");
        }

        if (turned < 2 || turned > headSize || turned % 2 != 0)
        {
            throw shareConfig.Has(shareName)
                ? shareConfig.Unsupported(shareName, $"an even part of a head's {headSize} dimensions", "Correct it, or download the file again.")
                : CheckpointException.For(
                    config.File, $"a head has {headSize} dimensions, rotary positions need an even number.", "Correct the number of heads.");
        }

        double[] frequencies = [.. Enumerable.Range(0, turned / 2).Select(i => Math.Pow(theta, -2.0 * i / turned))];
        string typeKey = scaling.Has("rope_type") ? "rope_type" : "type";
        switch (scaling == config ? "default" : scaling.GetString(typeKey, "default"))
        {
            case "default":
                break;
            case "linear":
                // Chen et al., arXiv 2306.15595: positions are squeezed.
                float factor = Factor(scaling);
                frequencies = [.. frequencies.Select(f => f / factor)];
                break;
            case "dynamic":
                // It changes the frequencies of texts beyond max_position_embeddings, and there are none here.
                _ = Factor(scaling);
                break;
            case "llama3":
                frequencies = [.. ScaleLlama3(scaling, frequencies)];
                break;
            default:
                throw scaling.Unsupported(typeKey, SupportedTypes, "Use a checkpoint with one of these.");
        }

        return new RotaryPositions([.. frequencies.Select(f => (float)f)]);
    }

    /// <summary>
    /// LLaMA 3.1's scaling (The Llama 3 Herd of Models, arXiv 2407.21783): frequencies with a long wave are divided by the factor, those
    /// with a short one are left, and between the two it is interpolated.
    /// </summary>
    private static IEnumerable<double> ScaleLlama3(ConfigReader scaling, double[] frequencies)
    {
        float factor = Factor(scaling);
        float low = scaling.GetSingle("low_freq_factor");
        float high = scaling.GetSingle("high_freq_factor");
        int context = scaling.GetSize("original_max_position_embeddings");
        if (low <= 0 || high <= low)
        {
            throw scaling.Unsupported("high_freq_factor", $"a number over low_freq_factor ({low}), itself over 0", "Correct it, or download the file again.");
        }

        return frequencies.Select(f =>
        {
            double waves = context * f / (2 * Math.PI);
            double kept = Math.Clamp((waves - low) / (high - low), 0, 1);
            return ((1 - kept) * f / factor) + (kept * f);
        });
    }

    private static float Factor(ConfigReader scaling)
    {
        float factor = scaling.GetSingle("factor");
        return factor >= 1 ? factor : throw scaling.Unsupported("factor", "a number from 1", "Correct it, or download the file again.");
    }
}
