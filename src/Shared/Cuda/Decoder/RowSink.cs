namespace KernelGen;

/// <summary>What becomes of a row after its norm or gate.</summary>
internal enum RowSink
{
    /// <summary>It is rounded to float16.</summary>
    Round,

    /// <summary>And its outlier columns are marked, for a quantization that needs the columns of all rows.</summary>
    Mark,

    /// <summary>And it is quantized, every value of it.</summary>
    Quantize,

    /// <summary>And it is quantized but for its own outliers, which are marked.</summary>
    QuantizeElements,

    /// <summary>And it is quantized but for the columns of a mask.</summary>
    QuantizeColumns,
}
