namespace KernelGen.Generator.Planning.Cuda;

/// <summary>A kernel to emit, with what the runtime has to know to launch it.</summary>
/// <param name="Name">The computed name.</param>
/// <param name="Role">What it does.</param>
/// <param name="Capability">The lowest compute capability, times ten.</param>
/// <param name="ArchitectureSpecific">Whether it runs on that capability alone.</param>
/// <param name="Format">Input type of a quantization kernel, output type of a GEMM.</param>
/// <param name="BlockM">Rows per tile, or 0; of a GEMM that quantizes its single row the longest one.</param>
/// <param name="BlockN">Output features per tile; of a quantization kernel the longest row, or 0 for any.</param>
/// <param name="Alternating">Whether two consumer warpgroups take alternate tiles.</param>
/// <param name="Threads">Threads per block, or 0 where the launch decides.</param>
/// <param name="SharedBytes">Dynamic shared memory, or 0 where the launch decides.</param>
/// <param name="Body">The plan of the family that emits it.</param>
internal sealed record CudaKernelPlan(
    string Name,
    CudaKernelRole Role,
    int Capability,
    bool ArchitectureSpecific,
    ElementFormat Format,
    int BlockM,
    int BlockN,
    bool Alternating,
    int Threads,
    int SharedBytes,
    object Body);

/// <summary>The CUDA kernels of a spec: curated tiles of every family, for every input and output type.</summary>
internal static class CudaPlanner
{
    /// <summary>
    /// Large tiles for large problems, narrow ones where there are few tiles, alternating warpgroups where K is short and the epilogue would be
    /// half of the work. Clusters that multicast the weights were tried and measured slower at every size.
    /// </summary>
    private static readonly (int M, int N, int Stages, bool PingPong)[] WgmmaTiles =
    {
        (128, 256, 3, false),
        (128, 128, 4, true),
        (128, 128, 5, false),
        (128, 64, 7, false),
    };

    /// <summary>Rings that let two blocks and those of a small kernel share a multiprocessor: what comes next is there when they end.</summary>
    private static readonly (int Tokens, int Stages)[] StreamTiles = { (8, 8), (16, 7), (32, 6), (64, 4) };

    /// <summary>The ring of the kernels for a single row: two blocks, each with a row of 16,384, and an attention's share a multiprocessor.</summary>
    private const int RowStages = 9;

    /// <summary>Of rows of 4,096 and of 16,384 values; longer ones are quantized no later by a kernel of their own.</summary>
    private const int ShortRowGroups = 2, LongRowGroups = 8;

    /// <summary>Tall tiles for prefill; one and four rows of fragments for few rows.</summary>
    private static readonly (int M, int N, int WarpRows, int Stages)[] MmaTiles = { (128, 128, 2, 3), (64, 128, 2, 3), (16, 128, 1, 4) };

    public static IReadOnlyList<CudaKernelPlan> Plan(Int8Spec spec)
    {
        List<CudaKernelPlan> plans = new();
        bool zeroPoint = spec.Activations == ActivationQuantization.ZeroPoint, tensor = spec.Granularity == QuantizationGranularity.Tensor;
        foreach (ElementFormat input in new[] { ElementFormat.Float16, ElementFormat.BFloat16, ElementFormat.Float32 })
        {
            foreach (int capability in new[] { 61, 90 })
            {
                if (spec.Outliers == OutlierPolicy.Columns)
                {
                    Add(plans, CudaKernelRole.DetectOutliers, new QuantizePlan(QuantizeStage.Detect, input, OutlierPolicy.None, false, false, capability));
                }

                if (tensor)
                {
                    Add(plans, CudaKernelRole.MeasureRange, new QuantizePlan(QuantizeStage.Range, input, spec.Outliers, zeroPoint, false, capability));
                }

                Add(plans, CudaKernelRole.Quantize, new QuantizePlan(QuantizeStage.Quantize, input, spec.Outliers, zeroPoint, tensor, capability));
                if (spec.Outliers == OutlierPolicy.Columns && !tensor)
                {
                    // The outlier columns of one row are its outliers.
                    Add(plans, CudaKernelRole.QuantizeOneRow, new QuantizePlan(QuantizeStage.Quantize, input, OutlierPolicy.Elements, zeroPoint, false, capability));
                }

                QuantizePlan fewRows = new(QuantizeStage.DetectAndQuantizeInCluster, input, spec.Outliers, zeroPoint, tensor, capability);
                if (spec.Outliers == OutlierPolicy.Columns && fewRows.InRegisters)
                {
                    Add(plans, CudaKernelRole.QuantizeFewRows, fewRows);
                }
            }
        }

        foreach (ElementFormat output in new[] { ElementFormat.Float16, ElementFormat.BFloat16, ElementFormat.Float32 })
        {
            GemmNumbers numbers = new(spec.Outliers, zeroPoint, output);
            foreach ((int m, int n, int stages, bool pingPong) in WgmmaTiles)
            {
                WgmmaGemmPlan plan = new(m, n, stages, pingPong, numbers);
                plans.Add(new CudaKernelPlan(
                    plan.Name, CudaKernelRole.WgmmaGemm, 90, true, output, m, n, pingPong, WgmmaGemmPlan.Threads, plan.SharedBytes, plan));
            }

            foreach ((int tokens, int stages) in StreamTiles)
            {
                StreamGemmPlan plan = new(tokens, stages, numbers);
                plans.Add(new CudaKernelPlan(
                    plan.Name, CudaKernelRole.StreamGemm, 90, true, output, tokens, StreamGemmPlan.BlockN, false, StreamGemmPlan.Threads, plan.SharedBytes, plan));
            }

            foreach ((int groups, bool normalizes) in SingleRows(spec, output))
            {
                RowGemmPlan plan = new(groups, RowStages, numbers, normalizes);
                plans.Add(new CudaKernelPlan(
                    plan.Name, normalizes ? CudaKernelRole.NormedRowGemm : CudaKernelRole.RowGemm, 90, true, output, plan.LongestRow, RowGemmPlan.BlockN, false, RowGemmPlan.Threads, plan.SharedBytes, plan));
            }

            foreach ((int m, int n, int warpRows, int stages) in MmaTiles)
            {
                Add(plans, CudaKernelRole.MmaGemm, 80, output, new MmaGemmPlan(m, n, warpRows, stages, numbers));
            }

            Add(plans, CudaKernelRole.Dp4aGemm, 61, output, new Dp4aGemmPlan(numbers));
        }

        return plans;
    }

    /// <summary>
    /// A single row needs no kernel ahead where its own values say how it is quantized. What follows a norm is float16: a decoder's activations. Kernels for
    /// short rows are shorter themselves.
    /// </summary>
    private static IEnumerable<(int RowGroups, bool Normalizes)> SingleRows(Int8Spec spec, ElementFormat output)
    {
        bool standsAlone = spec is { Activations: ActivationQuantization.Symmetric, Granularity: not QuantizationGranularity.Tensor, Outliers: not OutlierPolicy.Fixed };
        if (!standsAlone || output == ElementFormat.Float32)
        {
            yield break;
        }

        yield return (ShortRowGroups, false);
        yield return (LongRowGroups, false);
        if (output == ElementFormat.Float16)
        {
            yield return (ShortRowGroups, true);
        }
    }

    private static void Add(List<CudaKernelPlan> plans, CudaKernelRole role, int capability, ElementFormat output, GridGemmPlan plan) =>
        plans.Add(new CudaKernelPlan(
            plan.Name, role, capability, false, output, plan.BlockM, plan.BlockN, false, GridGemmPlan.Threads, plan.SharedBytes, plan));

    private static void Add(List<CudaKernelPlan> plans, CudaKernelRole role, QuantizePlan plan) =>
        plans.Add(new CudaKernelPlan(plan.Name, role, plan.Capability, false, plan.Input, 0, plan.LongestRow, false, 0, 0, plan));
}
