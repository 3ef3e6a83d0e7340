using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;

namespace KernelGen;

/// <summary>Matrices between host and accelerator.</summary>
internal static class IlgpuHostArrays
{
    public static ElementFormat FormatOf<T>() =>
        typeof(T) == typeof(System.Half) ? ElementFormat.Float16 : typeof(T) == typeof(BFloat16) ? ElementFormat.BFloat16 : ElementFormat.Float32;

    public static void Check(string name, int length, int rows, int columns, int stride)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        if (stride < columns)
        {
            throw new ArgumentOutOfRangeException(name, stride, $"Rows of {columns} values cannot be {stride} apart.");
        }

        long needed = rows == 0 ? 0 : ((rows - 1L) * stride) + columns;
        if (length < needed)
        {
            throw new ArgumentException($"{rows} rows of {columns} values, {stride} apart, are {needed} values; the span has {length}.", name);
        }
    }

    /// <summary>A buffer of whole words with the values.</summary>
    public static MemoryBuffer1D<byte, Stride1D.Dense> Upload<T>(IlgpuAccelerator accelerator, ReadOnlySpan<T> values, string what)
        where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(values);
        MemoryBuffer1D<byte, Stride1D.Dense> buffer = accelerator.Allocate<byte>((bytes.Length + 3L) / 4 * 4, what);
        accelerator.Upload(buffer, bytes);
        return buffer;
    }

    /// <summary>Contiguous rows of an accelerator to the rows of a span.</summary>
    public static void Download<T>(IlgpuAccelerator accelerator, MemoryBuffer1D<byte, Stride1D.Dense> buffer, int rows, int columns, Span<T> result, int stride)
        where T : unmanaged
    {
        byte[] bytes = new byte[buffer.Length];
        buffer.View.BaseView.CopyToCPU(accelerator.Stream, bytes);
        accelerator.Synchronize();
        ReadOnlySpan<T> values = MemoryMarshal.Cast<byte, T>(bytes);
        for (int row = 0; row < rows; row++)
        {
            values.Slice(row * columns, columns).CopyTo(result[(row * stride)..]);
        }
    }
}
