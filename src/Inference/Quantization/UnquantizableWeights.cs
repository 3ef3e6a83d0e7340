using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Quantization;

/// <summary>Turns what the quantizer says of a matrix into an error that names the file, too.</summary>
internal static class UnquantizableWeights
{
    /// <summary>Calls a function that quantizes a layer's weights.</summary>
    /// <exception cref="CheckpointException">The weights cannot be quantized.</exception>
    public static T Named<T>(LinearLayerSource source, Func<T> quantize)
    {
        try
        {
            return quantize();
        }
        catch (ArgumentException e)
        {
            // The parameter's name, which .NET appends, says nothing of the checkpoint.
            string message = e.Message.Replace($" (Parameter '{e.ParamName}')", "", StringComparison.Ordinal);
            throw CheckpointException.For(
                source.Weight.Info.File, source.Weight.Info.Name, $"it cannot be quantized: {message}", "Use another checkpoint or scheme.");
        }
    }
}
