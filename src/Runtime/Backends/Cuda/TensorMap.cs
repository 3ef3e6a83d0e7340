using System.Runtime.InteropServices;
using static KernelGen.Backends.Cuda.CudaDriver;

namespace KernelGen.Backends.Cuda;

/// <summary>A TMA descriptor of a row-major matrix in device memory, in boxes of 128-byte rows with the 128-byte swizzle.</summary>
[StructLayout(LayoutKind.Sequential, Size = 128)]
internal unsafe struct TensorMap
{
    /// <summary>Encodes a descriptor; the destination must be 64-byte aligned.</summary>
    /// <param name="map">Where.</param>
    /// <param name="address">The first element, 16-byte aligned.</param>
    /// <param name="rows">Rows; boxes beyond read zeros and write nothing.</param>
    /// <param name="columns">Elements per row.</param>
    /// <param name="rowBytes">From one row to the next, a multiple of 16.</param>
    /// <param name="boxRows">Rows of a box, at most 256.</param>
    /// <param name="format">null for bytes.</param>
    public static void Encode(TensorMap* map, ulong address, long rows, long columns, long rowBytes, int boxRows, ElementFormat? format)
    {
        // CUtensorMapDataType: UINT8 0, FLOAT16 6, FLOAT32 7, BFLOAT16 9.
        int type = format switch { ElementFormat.Float16 => 6, ElementFormat.BFloat16 => 9, ElementFormat.Float32 => 7, _ => 0 };
        int size = format switch { null => 1, ElementFormat.Float32 => 4, _ => 2 };
        ulong* sizes = stackalloc ulong[] { (ulong)columns, (ulong)rows };
        ulong* strides = stackalloc ulong[] { (ulong)rowBytes };
        uint* box = stackalloc uint[] { (uint)(128 / size), (uint)boxRows };
        uint* steps = stackalloc uint[] { 1, 1 };
        const int Swizzle128 = 3, Promote128 = 2;
        int code = cuTensorMapEncodeTiled(map, type, 2, address, sizes, strides, box, steps, 0, Swizzle128, Promote128, 0);
        if (code != 0)
        {
            throw new CudaException("cuTensorMapEncodeTiled", code, Describe(code), $"The matrix was [{rows},{columns}] at 0x{address:X} with rows of {rowBytes} bytes.");
        }
    }
}
