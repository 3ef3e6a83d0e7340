using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;

namespace KernelGen.Inference.Checkpoints;

/// <summary>A view on one tensor of a memory-mapped <see cref="Checkpoint"/>: no copy, of any size.</summary>
/// <remarks>
/// Every member checks that the checkpoint is still open. A span that was taken before the checkpoint was disposed must not be used
/// after it, as with any native memory. Values need not be aligned to their size.
/// </remarks>
public sealed class MappedTensor
{
    private readonly MappedFile _file;

    internal MappedTensor(TensorInfo info, MappedFile file)
    {
        Info = info;
        _file = file;
    }

    /// <summary>The tensor's name, type, shape, size and file.</summary>
    public TensorInfo Info { get; }

    /// <summary>All values in their stored type: [<see cref="TensorInfo.ElementCount"/>], in row-major order.</summary>
    /// <typeparam name="T">
    /// <see cref="float"/> for F32, <see cref="Half"/> for F16, <see cref="ushort"/> for the bits of BF16, <see cref="sbyte"/> for I8,
    /// <see cref="int"/> for I32, <see cref="long"/> for I64; <see cref="byte"/> for U8 or the raw bytes of any type.
    /// </typeparam>
    /// <exception cref="CheckpointException">
    /// The tensor has another type, or more elements than a span can hold (use <see cref="Rows"/>).
    /// </exception>
    /// <exception cref="ObjectDisposedException">The checkpoint is disposed.</exception>
    public ReadOnlySpan<T> Span<T>()
        where T : unmanaged
    {
        if (!Holds<T>())
        {
            throw CheckpointException.For(
                Info.File,
                Info.Name,
                $"its values are {Info.Type.HeaderName()}, they cannot be seen as {typeof(T).Name}.",
                "Convert the checkpoint to float32, float16 or bfloat16.");
        }

        long count = Info.ByteLength / Unsafe.SizeOf<T>();
        if (count > int.MaxValue)
        {
            throw CheckpointException.For(
                Info.File, Info.Name, $"its {count} elements do not fit one span.", "Read it by rows.");
        }

        return _file.Span<T>(Info.Offset, (int)count);
    }

    /// <summary>The stored bytes of one row of a 2-D tensor.</summary>
    /// <param name="row">The row, from 0 to <c>Shape[0]</c> - 1.</param>
    /// <exception cref="CheckpointException">The tensor is not 2-D, its rows are not whole bytes, or one exceeds 2 GB.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ObjectDisposedException">The checkpoint is disposed.</exception>
    public ReadOnlySpan<byte> Row(long row) => Rows(row, 1);

    /// <summary>The stored bytes of consecutive rows of a 2-D tensor.</summary>
    /// <param name="start">The first row, from 0.</param>
    /// <param name="count">The number of rows; their bytes must fit one span (2 GB).</param>
    /// <exception cref="CheckpointException">The tensor is not 2-D, its rows are not whole bytes, or the rows exceed 2 GB.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The rows are not all within the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The checkpoint is disposed.</exception>
    public ReadOnlySpan<byte> Rows(long start, int count)
    {
        if (Info.Shape.Length != 2)
        {
            throw CheckpointException.For(
                Info.File, Info.Name, $"its shape is {Info.ShapeText}, a matrix was expected.", "Use a checkpoint of the family that config.json names.");
        }

        long rows = Info.Shape[0];
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, rows);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, rows - start);
        if (rows == 0)
        {
            return _file.Span<byte>(Info.Offset, 0);
        }

        if (Info.ByteLength % rows != 0)
        {
            throw CheckpointException.For(
                Info.File, Info.Name, $"its rows of {Info.Shape[1]} {Info.Type.HeaderName()} are not whole bytes.", "Convert the checkpoint to float16 or bfloat16.");
        }

        long rowBytes = Info.ByteLength / rows;
        if (Math.BigMul(rowBytes, (long)count) > int.MaxValue)
        {
            throw CheckpointException.For(
                Info.File, Info.Name, $"{count} rows of {rowBytes} bytes do not fit one span.", "Read fewer rows at once.");
        }

        return _file.Span<byte>(Info.Offset + start * rowBytes, (int)(rowBytes * count));
    }

    /// <summary>Converts consecutive elements to float32.</summary>
    /// <param name="firstElement">The first element in row-major order, from 0.</param>
    /// <param name="destination">Receives the values, as many as it is long.</param>
    /// <exception cref="CheckpointException">The tensor is not F32, F16 or BF16.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The elements are not all within the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The checkpoint is disposed.</exception>
    public void CopyTo(long firstElement, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstElement);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(firstElement, Info.ElementCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(destination.Length, Info.ElementCount - firstElement, nameof(destination));
        RequireFloatingPoint();

        // Pinned, so that a Dispose on another thread cannot take the memory away in the middle.
        _file.Pin();
        try
        {
            int count = destination.Length;
            switch (Info.Type)
            {
                case TensorType.F32:
                    _file.Span<float>(Info.Offset + firstElement * sizeof(float), count).CopyTo(destination);
                    break;
                case TensorType.F16:
                    TensorPrimitives.ConvertToSingle(_file.Span<Half>(Info.Offset + firstElement * sizeof(ushort), count), destination);
                    break;
                default:
                    WidenBrainFloat(_file.Span<ushort>(Info.Offset + firstElement * sizeof(ushort), count), destination);
                    break;
            }
        }
        finally
        {
            _file.Unpin();
        }
    }

    /// <summary>Refuses a tensor whose values have no direct conversion to float32, before anything is allocated for them.</summary>
    internal void RequireFloatingPoint()
    {
        if (Info.Type is not (TensorType.F32 or TensorType.F16 or TensorType.BF16))
        {
            throw CheckpointException.For(
                Info.File,
                Info.Name,
                $"its values are {Info.Type.HeaderName()}, F32, F16 or BF16 was expected.",
                "Convert the checkpoint to float32, float16 or bfloat16.");
        }
    }

    /// <summary>A bfloat16 is the upper half of a float32: the conversion is a shift, exact for every value.</summary>
    private static void WidenBrainFloat(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        int i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(source[i..]), out Vector<uint> low, out Vector<uint> high);
            Vector.AsVectorSingle(low << 16).CopyTo(destination[i..]);
            Vector.AsVectorSingle(high << 16).CopyTo(destination[(i + Vector<uint>.Count)..]);
        }

        for (; i < source.Length; i++)
        {
            destination[i] = BitConverter.UInt32BitsToSingle((uint)source[i] << 16);
        }
    }

    private bool Holds<T>() =>
        typeof(T) == typeof(byte) || Info.Type switch
        {
            TensorType.F32 => typeof(T) == typeof(float),
            TensorType.F16 => typeof(T) == typeof(Half),
            TensorType.BF16 => typeof(T) == typeof(ushort),
            TensorType.I8 => typeof(T) == typeof(sbyte),
            TensorType.I32 => typeof(T) == typeof(int),
            TensorType.I64 => typeof(T) == typeof(long),
            _ => false,
        };
}
