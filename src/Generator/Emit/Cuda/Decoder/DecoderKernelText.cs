using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>From a decoder kernel's plan to its PTX.</summary>
internal static class DecoderKernelText
{
    public static string Of(DecoderKernelPlan plan) => plan.Body switch
    {
        _ => throw new ArgumentException($"No emitter for {plan.Body.GetType().Name}.", nameof(plan)),
    };
}
