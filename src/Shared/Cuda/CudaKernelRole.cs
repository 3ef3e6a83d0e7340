namespace KernelGen;

/// <summary>What a CUDA kernel does in the multiplication.</summary>
public enum CudaKernelRole
{
    /// <summary>Marks the columns of A that hold an outlier.</summary>
    DetectOutliers,

    /// <summary>Finds the range that all rows of A share.</summary>
    MeasureRange,

    /// <summary>Quantizes rows.</summary>
    Quantize,

    /// <summary>Marks the columns of a single row that hold an outlier and quantizes it.</summary>
    QuantizeOneRow,

    /// <summary>Marks the columns of few rows that hold an outlier and quantizes the rows, in one launch.</summary>
    QuantizeFewRows,

    /// <summary>Multiplies many rows: wgmma and TMA.</summary>
    WgmmaGemm,

    /// <summary>Multiplies few rows, streaming the weights: wgmma with the operands swapped.</summary>
    StreamGemm,

    /// <summary>Multiplies with mma.sync m16n8k32.</summary>
    MmaGemm,

    /// <summary>Multiplies with dp4a.</summary>
    Dp4aGemm,

    /// <summary>Measures how fast the multiply units can be. Not generated: tuning brings it along.</summary>
    MeasurePeak,

    /// <summary>A step of a decoder around its int8 multiplications: embedding, norm, attention, 16-bit multiplication, choice of a token.</summary>
    DecoderStep,

    /// <summary>Quantizes a single row and multiplies it, streaming the weights.</summary>
    RowGemm,

    /// <summary>Adds to a single row of the residual stream, normalizes, quantizes and multiplies it, streaming the weights.</summary>
    NormedRowGemm,
}
