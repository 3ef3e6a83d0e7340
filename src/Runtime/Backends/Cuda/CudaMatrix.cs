namespace KernelGen.Backends.Cuda;

/// <summary>A matrix on the device.</summary>
/// <param name="Address">The first element.</param>
/// <param name="Format">The elements' type.</param>
/// <param name="RowStride">Elements from one row to the next.</param>
internal readonly record struct CudaMatrix(ulong Address, ElementFormat Format, int RowStride)
{
    /// <summary>Bytes of the widest loads and stores.</summary>
    public const int Alignment = 16;

    public int ElementBytes => Format == ElementFormat.Float32 ? 4 : 2;

    public long RowBytes => (long)RowStride * ElementBytes;

    /// <summary>Whether every row begins where the widest loads and stores can.</summary>
    public bool IsAligned => Address % Alignment == 0 && RowBytes % Alignment == 0;

    /// <summary>The columns from one on.</summary>
    public CudaMatrix From(int column) => this with { Address = Address + (ulong)((long)column * ElementBytes) };
}
