namespace KernelGen.Kernels.Ilgpu;

[Int8Kernel(Targets = KernelTargets.Ilgpu | KernelTargets.Cpu)]
internal static partial class Columns;

[Int8Kernel(Outliers = OutlierPolicy.Elements, Targets = KernelTargets.Ilgpu | KernelTargets.Cpu)]
internal static partial class Elements;

[Int8Kernel(Outliers = OutlierPolicy.Fixed, Targets = KernelTargets.Ilgpu | KernelTargets.Cpu)]
internal static partial class FixedColumns;

[Int8Kernel(Outliers = OutlierPolicy.None, Targets = KernelTargets.Ilgpu | KernelTargets.Cpu)]
internal static partial class NoOutliers;

/// <summary>Zero-points and elements: every correction at once.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Elements, OutlierThreshold = 3, Activations = ActivationQuantization.ZeroPoint, Targets = KernelTargets.Ilgpu | KernelTargets.Cpu)]
internal static partial class ElementsZeroPoint;

/// <summary>One scale for all rows.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Columns, Granularity = QuantizationGranularity.Tensor, Targets = KernelTargets.Ilgpu | KernelTargets.Cpu)]
internal static partial class ColumnsTensor;

/// <summary>One scale and one zero-point for all rows, calibrated columns.</summary>
[Int8Kernel(
    Outliers = OutlierPolicy.Fixed, Activations = ActivationQuantization.ZeroPoint, Granularity = QuantizationGranularity.Tensor,
    Targets = KernelTargets.Ilgpu | KernelTargets.Cpu)]
internal static partial class FixedTensorZeroPoint;

/// <summary>The kernel sets that the suite runs: every policy, both quantizations, every granularity that has kernels of its own.</summary>
internal static class IlgpuSpecs
{
    public static IReadOnlyList<Int8KernelSet> All { get; } =
    [
        NoOutliers.Kernels, Columns.Kernels, Elements.Kernels, FixedColumns.Kernels, ElementsZeroPoint.Kernels, ColumnsTensor.Kernels, FixedTensorZeroPoint.Kernels,
    ];
}
