using KernelGen.Generator.Models;

namespace KernelGen.Generator.Planning.Ilgpu;

/// <summary>The ILGPU kernels of a spec; none where it has no ILGPU target.</summary>
internal static class IlgpuPlanner
{
    /// <summary>Threads of a kernel that takes a row of activations.</summary>
    private const int RowThreads = 128;

    /// <summary>
    /// Tiles whose shared memory stays within the 48 KB that a kernel gets without asking the driver: 128 x 128 x 64 in three stages fills them. Four
    /// warps of 64 x 64 instead of eight of 64 x 32 were slower at every size (228 against 220 us at 4096^3 on an H100) and are gone.
    /// </summary>
    private static readonly (IlgpuInstruction Instruction, int M, int N, int K, int Stages, int Threads, int Groups)[] Tiles =
    {
        (IlgpuInstruction.Portable, 64, 64, 64, 1, 256, 1),
        (IlgpuInstruction.Dp4a, 128, 128, 64, 2, 256, 2),
        (IlgpuInstruction.MmaSync, 128, 128, 64, 3, 256, 2),
    };

    /// <summary>Rows of the kernels that stream the weights.</summary>
    private static readonly int[] FewRows = { 1, 8 };

    /// <summary>Why a spec that asks for ILGPU kernels gets none, or null.</summary>
    public static string? Reject(KernelSpec spec) =>
        (spec.Targets & KernelTargets.Ilgpu) != 0 && spec.Numbers.Accumulation == Accumulation.Int64
            ? "ILGPU kernels sum in 32 bits; a class with Accumulation.Int64 multiplies on the processor"
            : null;

    /// <param name="spec">The spec.</param>
    /// <param name="referenced">Whether the project references ILGPU.</param>
    public static EquatableArray<IlgpuKernelPlan> Plan(KernelSpec spec, bool referenced) =>
        referenced && (spec.Targets & KernelTargets.Ilgpu) != 0 && Reject(spec) is null ? new(Kernels(spec.Numbers)) : default;

    private static IEnumerable<IlgpuKernelPlan> Kernels(Int8Spec spec)
    {
        bool zeroPoint = spec.Activations == ActivationQuantization.ZeroPoint, tensor = spec.Granularity == QuantizationGranularity.Tensor;
        IlgpuKernelPlan Row(IlgpuKernelRole role, OutlierPolicy outliers) =>
            new(role, IlgpuInstruction.Portable, 0, 0, 0, 0, RowThreads, 1, outliers, zeroPoint, tensor);

        if (spec.Outliers == OutlierPolicy.Columns)
        {
            yield return Row(IlgpuKernelRole.DetectOutliers, OutlierPolicy.None);
        }

        if (tensor)
        {
            yield return Row(IlgpuKernelRole.MeasureRange, spec.Outliers);
        }

        yield return Row(IlgpuKernelRole.Quantize, spec.Outliers);
        if (spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Elements)
        {
            yield return Row(IlgpuKernelRole.ListOutliers, OutlierPolicy.None);
        }

        foreach ((IlgpuInstruction instruction, int m, int n, int k, int stages, int threads, int groups) in Tiles)
        {
            yield return new IlgpuKernelPlan(IlgpuKernelRole.TileGemm, instruction, m, n, k, stages, threads, groups, spec.Outliers, zeroPoint, tensor);
        }

        foreach (IlgpuInstruction instruction in new[] { IlgpuInstruction.Portable, IlgpuInstruction.Dp4a })
        {
            foreach (int rows in FewRows)
            {
                yield return new IlgpuKernelPlan(
                    IlgpuKernelRole.FewRowGemm, instruction, rows, 16, IlgpuKernelPlan.FewRowLanes * 4, 1, 128, 1, spec.Outliers, zeroPoint, tensor);
            }
        }
    }
}
