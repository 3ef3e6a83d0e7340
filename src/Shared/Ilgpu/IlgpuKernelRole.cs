namespace KernelGen;

/// <summary>What an ILGPU kernel does in the multiplication.</summary>
public enum IlgpuKernelRole
{
    /// <summary>Marks the columns of A that hold an outlier.</summary>
    DetectOutliers,

    /// <summary>Finds the range that all rows of A share.</summary>
    MeasureRange,

    /// <summary>Quantizes rows.</summary>
    Quantize,

    /// <summary>Turns the marks into a list of columns, ascending, and clears them.</summary>
    ListOutliers,

    /// <summary>Multiplies any number of rows, a tile per group of threads.</summary>
    TileGemm,

    /// <summary>Multiplies at most BlockM rows, streaming the weights.</summary>
    FewRowGemm,
}
