using System.Runtime.InteropServices;

namespace KernelGen.Inference.Conversion;

/// <summary>A piece of a source tensor in memory: rows of a matrix, or bytes of what is copied. Its buffers are used again and again.</summary>
internal sealed class SourceBlock(int capacity)
{
    private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(capacity);

    private byte[] _quantized = [];

    /// <summary>The tensor that the piece belongs to.</summary>
    public TensorConversion? Tensor { get; set; }

    /// <summary>The first row, or the first byte of what is copied.</summary>
    public long First { get; set; }

    /// <summary>The number of rows; 0 for what is copied.</summary>
    public int Count { get; set; }

    /// <summary>Bytes of the source in this block.</summary>
    public int Length { get; set; }

    /// <summary>The source's bytes.</summary>
    public Span<byte> Bytes => _bytes.AsSpan(0, Length);

    /// <summary>Room for the block's int8 values.</summary>
    public Span<sbyte> Quantized(int count)
    {
        if (_quantized.Length < count)
        {
            _quantized = GC.AllocateUninitializedArray<byte>(count);
        }

        return MemoryMarshal.Cast<byte, sbyte>(_quantized.AsSpan(0, count));
    }
}
