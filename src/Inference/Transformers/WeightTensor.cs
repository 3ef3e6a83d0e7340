using KernelGen.Backends.Cpu;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>From a stored matrix to one that the float32 GEMM reads.</summary>
internal static class WeightTensor
{
    /// <summary>Packs a layer's weights, keeping their stored type.</summary>
    /// <exception cref="CheckpointException">They are of another type than F32, F16 or BF16, and not int8 with a scale per row.</exception>
    public static PackedFloatWeights Pack(LinearLayerSource source) => source.Int8 is { } stored
        ? PackedFloatWeights.Pack(source.Weight.Span<sbyte>(), [.. stored.Absmax], source.OutputFeatures, source.InputFeatures)
        : Pack(source.Weight, source.IsTransposed);

    /// <summary>Packs a matrix, keeping its stored type.</summary>
    /// <param name="tensor">[N,K], or [K,N] if it is transposed.</param>
    /// <param name="isTransposed">Whether it is.</param>
    /// <exception cref="CheckpointException">It is not a matrix of F32, F16 or BF16.</exception>
    public static PackedFloatWeights Pack(MappedTensor tensor, bool isTransposed = false)
    {
        TensorInfo info = tensor.Info;
        tensor.RequireFloatingPoint();
        if (info.Shape.Length != 2 || info.Shape[0] is < 1 or > int.MaxValue || info.Shape[1] is < 1 or > int.MaxValue)
        {
            throw CheckpointException.For(
                info.File, info.Name, $"its shape is {info.ShapeText}, a matrix was expected.", "Check that config.json belongs to this checkpoint.");
        }

        int n = (int)info.Shape[isTransposed ? 1 : 0];
        int k = (int)info.Shape[isTransposed ? 0 : 1];
        return info.Type switch
        {
            TensorType.F32 => PackedFloatWeights.Pack(Rows<float>(), n, k),
            TensorType.F16 => PackedFloatWeights.Pack(Rows<Half>(), n, k),
            _ => PackedFloatWeights.PackBFloat16(Rows<ushort>(), n, k),
        };

        ReadOnlySpan<T> Rows<T>()
            where T : unmanaged => isTransposed ? Transpose(tensor.Span<T>(), k, n) : tensor.Span<T>();
    }

    /// <summary>The transposed copy of a matrix, made in squares so that both sides stay in the cache.</summary>
    private static T[] Transpose<T>(ReadOnlySpan<T> source, int rows, int columns)
    {
        const int Square = 32;
        T[] result = GC.AllocateUninitializedArray<T>(source.Length);
        for (int top = 0; top < rows; top += Square)
        {
            for (int left = 0; left < columns; left += Square)
            {
                for (int row = top; row < Math.Min(top + Square, rows); row++)
                {
                    for (int column = left; column < Math.Min(left + Square, columns); column++)
                    {
                        result[((long)column * rows) + row] = source[(row * columns) + column];
                    }
                }
            }
        }

        return result;
    }
}
