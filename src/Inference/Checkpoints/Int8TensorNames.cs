namespace KernelGen.Inference.Checkpoints;

/// <summary>
/// The tensors of a linear layer in an int8 checkpoint. The first three are what bitsandbytes' <c>Linear8bitLt</c> saves; the others are
/// ours, under names that no other reader asks for.
/// </summary>
internal static class Int8TensorNames
{
    /// <summary>The weights: int8 [N,K] in an int8 checkpoint.</summary>
    public const string Weight = ".weight";

    /// <summary>The absmax of every output feature: float32 [N].</summary>
    public const string Absmax = ".SCB";

    /// <summary>The layout of the weights: a uint8, 0 for row-major.</summary>
    public const string Format = ".weight_format";

    /// <summary>The calibrated outlier columns: int32 [C], ascending; there may be none.</summary>
    public const string OutlierColumns = ".kernelgen_outlier_columns";

    /// <summary>Their original weights: [C,N] in the type of the checkpoint that was converted.</summary>
    public const string OutlierWeights = ".kernelgen_outlier_weights";

    /// <summary>The only layout that is written today, and read here.</summary>
    public const byte RowMajor = 0;
}
