using ILGPU;

namespace KernelGen;

/// <summary>A matrix in an accelerator's memory.</summary>
/// <param name="Memory">Its bytes, a whole number of 32-bit words.</param>
/// <param name="Format">The elements' type.</param>
/// <param name="RowStride">Elements from one row to the next.</param>
public readonly record struct IlgpuMatrix(ArrayView<byte> Memory, ElementFormat Format, int RowStride)
{
    /// <summary>Bytes of an element.</summary>
    public int ElementBytes => Format == ElementFormat.Float32 ? 4 : 2;

    /// <summary>Bytes of memory that a matrix needs, in whole words.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="rowStride">Elements from one row to the next.</param>
    /// <param name="format">The elements' type.</param>
    /// <returns>The bytes.</returns>
    public static long BytesOf(long rows, long rowStride, ElementFormat format) => ((rows * rowStride * (format == ElementFormat.Float32 ? 4 : 2)) + 3) / 4 * 4;

    internal void ThrowIfTooSmall(string name, long rows, int columns)
    {
        long needed = rows == 0 ? 0 : (((rows - 1) * RowStride) + columns) * ElementBytes;
        if (RowStride < columns || Memory.Length < needed || Memory.Length % 4 != 0)
        {
            throw new ArgumentException(
                $"A matrix of {rows} rows of {columns} {Format} values, {RowStride} apart, needs a stride of at least {columns} and {needed} bytes in whole words; it has {Memory.Length}.", name);
        }
    }
}
