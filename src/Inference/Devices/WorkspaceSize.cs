using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>The workspace that serves every int8 multiplication of a model, whichever kernel is chosen.</summary>
/// <param name="Rows">Most rows.</param>
/// <param name="KPadded">The longest row.</param>
/// <param name="PartialBytes">Sums of split tiles.</param>
/// <param name="Tickets">Split tiles.</param>
internal readonly record struct WorkspaceSize(int Rows, long KPadded, long PartialBytes, long Tickets)
{
    public long Bytes => CudaMatMulWorkspace.BytesFor(Rows, KPadded, PartialBytes, Tickets);

    public static WorkspaceSize Of(DecoderPlan plan, Int8KernelSet kernels, int rows)
    {
        long features = plan.Matrices.Max(static matrix => (long)matrix.OutputFeatures);
        long partials = 0, tickets = 0;
        foreach (CudaKernelVariant kernel in kernels.CudaVariants.Where(static kernel => kernel.Role == CudaKernelRole.StreamGemm))
        {
            long tiles = (features + kernel.BlockN - 1) / kernel.BlockN;
            partials = Math.Max(partials, tiles * kernel.BlockM * kernel.BlockN * sizeof(int));
            tickets = Math.Max(tickets, tiles);
        }

        return new WorkspaceSize(
            rows,
            plan.Matrices.Max(static matrix => DeviceScheme.RoundUp(matrix.InputFeatures, CudaInt8Weights.KBlock)),
            partials,
            tickets);
    }

    public void Reserve(CudaMatMulWorkspace workspace) => workspace.Reserve(Rows, KPadded, PartialBytes, Tickets);
}
