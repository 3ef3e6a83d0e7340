using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Gpu;

/// <summary>A calibrated outlier set.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Fixed, Targets = KernelTargets.All)]
internal static partial class FixedColumns;

/// <summary>Zero-points and elements: every correction at once.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Elements, OutlierThreshold = 3, Activations = ActivationQuantization.ZeroPoint, Targets = KernelTargets.All)]
internal static partial class ElementsZeroPoint;

/// <summary>One scale for all rows.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Columns, Granularity = QuantizationGranularity.Tensor, Targets = KernelTargets.All)]
internal static partial class ColumnsTensor;

/// <summary>The kernel sets whose CUDA kernels the suite runs: all that ship, and what else the generator can emit.</summary>
internal static class CudaSpecs
{
    public static IReadOnlyList<Int8KernelSet> All { get; } =
    [
        LlmInt8.Kernels, LlmInt8Elements.Kernels, AbsmaxVector.Kernels, FixedColumns.Kernels, ElementsZeroPoint.Kernels, ColumnsTensor.Kernels,
    ];
}
