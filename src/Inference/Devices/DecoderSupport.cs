using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>What the device's kernels ask of a model's sizes.</summary>
internal static class DecoderSupport
{
    /// <summary>Values that the kernels take at a time.</summary>
    private const int Group = 8;

    private const int LargestVocabulary = 1 << 20;

    /// <summary>Refuses a model before anything is loaded.</summary>
    /// <exception cref="NotSupportedException">A size is not supported; the message names it.</exception>
    public static void Check(DecoderDescription description, IReadOnlyList<int> headSizes, int widest)
    {
        if (!headSizes.Contains(description.HeadSize))
        {
            throw Unsupported($"its heads have {description.HeadSize} dimensions, kernels exist for {string.Join(", ", headSizes)}");
        }

        foreach (LinearDescription layer in description.LinearLayers.Where(static layer => layer.InputFeatures % Group != 0 || layer.OutputFeatures % Group != 0))
        {
            throw Unsupported($"'{layer.Name}' is [{layer.OutputFeatures}, {layer.InputFeatures}], the kernels take multiples of {Group}");
        }

        int width = Math.Max(description.HiddenSize, description.Layers.Max(static layer => layer.Mlp.Up.OutputFeatures));
        if (width > widest)
        {
            throw Unsupported($"its rows are up to {width} wide, a thread block of this device holds {widest}");
        }

        if (description.VocabularySize > LargestVocabulary)
        {
            throw Unsupported($"its vocabulary of {description.VocabularySize} exceeds {LargestVocabulary}");
        }

        static NotSupportedException Unsupported(string reason) => new($"This model does not run on the device: {reason}. Run it on the processor.");
    }
}
