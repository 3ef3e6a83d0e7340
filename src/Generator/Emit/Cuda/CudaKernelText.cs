using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>From any kernel's plan to its PTX.</summary>
internal static class CudaKernelText
{
    public static string Of(CudaKernelPlan plan) => plan.Body switch
    {
        WgmmaGemmPlan wgmma => WgmmaGemm.Emit(wgmma),
        StreamGemmPlan stream => StreamGemm.Emit(stream),
        RowGemmPlan row => RowGemm.Emit(row),
        MmaGemmPlan mma => MmaGemm.Emit(mma),
        Dp4aGemmPlan dp4a => Dp4aGemm.Emit(dp4a),
        QuantizePlan { InRegisters: true } quantize => RegisterQuantizeKernel.Emit(quantize),
        QuantizePlan quantize => QuantizeKernel.Emit(quantize),
        _ => throw new ArgumentException($"No emitter for {plan.Body.GetType().Name}.", nameof(plan)),
    };
}
