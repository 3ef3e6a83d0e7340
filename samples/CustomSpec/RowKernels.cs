using KernelGen;

namespace CustomSpec;

/// <summary>
/// Kernels for a service that answers requests in batches: outliers are decided in each row, so that an answer never depends on what else is in the
/// batch, from 3 on; and activations have a zero-point, as this model's come out of ReLUs. Two tile heights: one for single rows, one for batches.
/// </summary>
[Int8Kernel(
    Outliers = OutlierPolicy.Elements,
    OutlierThreshold = 3f,
    Activations = ActivationQuantization.ZeroPoint,
    CpuTileM = [1, 4],
    CpuTileN = [16])]
public static partial class RowKernels;
