using KernelGen.Backends.Cpu;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Transformers;

/// <summary>From a stored matrix to one that the float32 GEMM reads.</summary>
internal static class WeightTensor
{
    /// <summary>Packs a matrix [N,K], keeping its stored type.</summary>
    /// <exception cref="CheckpointException">It is not a matrix of F32, F16 or BF16.</exception>
    public static PackedFloatWeights Pack(MappedTensor tensor)
    {
        TensorInfo info = tensor.Info;
        tensor.RequireFloatingPoint();
        if (info.Shape.Length != 2 || info.Shape[0] is < 1 or > int.MaxValue || info.Shape[1] is < 1 or > int.MaxValue)
        {
            throw CheckpointException.For(
                info.File, info.Name, $"its shape is {info.ShapeText}, a matrix was expected.", "Check that config.json belongs to this checkpoint.");
        }

        int n = (int)info.Shape[0];
        int k = (int)info.Shape[1];
        return info.Type switch
        {
            TensorType.F32 => PackedFloatWeights.Pack(tensor.Span<float>(), n, k),
            TensorType.F16 => PackedFloatWeights.Pack(tensor.Span<Half>(), n, k),
            _ => PackedFloatWeights.PackBFloat16(tensor.Span<ushort>(), n, k),
        };
    }
}
