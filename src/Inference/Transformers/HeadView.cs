namespace KernelGen.Inference.Transformers;

/// <summary>
/// Where the heads of queries, keys or values lie in a matrix of rows: head h of row r begins at
/// <c>Offset + r * RowStride + h * HeadStride</c>. A fused projection's output needs no copy to be taken apart.
/// </summary>
internal readonly record struct HeadView(float[] Values, int Offset, int RowStride, int HeadStride)
{
    /// <summary>Index of the first value of a row's head.</summary>
    public long At(long row, int head) => Offset + (row * RowStride) + ((long)head * HeadStride);

    /// <summary>Heads side by side, nothing between them.</summary>
    public static HeadView Contiguous(float[] values, int heads, int headSize) => new(values, 0, heads * headSize, headSize);
}
