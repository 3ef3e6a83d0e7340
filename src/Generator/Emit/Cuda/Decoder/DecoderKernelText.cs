using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>From a decoder kernel's plan to its PTX.</summary>
internal static class DecoderKernelText
{
    public static string Of(DecoderKernelPlan plan) => plan.Body switch
    {
        EmbedPlan => EmbedKernel.Emit(plan),
        RowPlan row => RowKernel.Emit(plan, row),
        DecodeAttentionPlan attention => DecodeAttentionKernel.Emit(plan, attention),
        FewRowsGemmPlan gemm => FewRowsGemmKernel.Emit(plan, gemm),
        StorePlan => StoreKernel.Emit(plan),
        CachePlan { Widens: false } => PackCacheKernel.Emit(plan),
        CachePlan => WidenCacheKernel.Emit(plan),
        MmaPrefillPlan attention => MmaPrefillKernel.Emit(plan, attention),
        WgmmaPrefillPlan attention => WgmmaPrefillKernel.Emit(plan, attention),
        WidenPlan => WidenWeightsKernel.Emit(plan),
        ManyRowsGemmPlan => ManyRowsGemmKernel.Emit(plan),
        WgmmaFloatGemmPlan gemm => WgmmaGemm.Emit(gemm.Gemm),
        ArgMaxPlan => ArgMaxKernel.Emit(plan),
        SamplePlan => SampleKernel.Emit(plan),
        _ => throw new ArgumentException($"No emitter for {plan.Body.GetType().Name}.", nameof(plan)),
    };
}
