using System.Collections.Immutable;

namespace KernelGen.Inference.Checkpoints;

/// <summary>What a checkpoint says about one of its tensors, without its values.</summary>
/// <param name="Name">The tensor's name, unique in its checkpoint.</param>
/// <param name="Type">The type of its elements as stored.</param>
/// <param name="Shape">Its dimensions, outermost first; the last one is contiguous. Empty for a scalar.</param>
/// <param name="ByteLength">The size of its values in bytes.</param>
/// <param name="File">The full path of the file that holds it.</param>
public sealed record TensorInfo(string Name, TensorType Type, ImmutableArray<long> Shape, long ByteLength, string File)
{
    /// <summary>The number of elements: the product of <see cref="Shape"/>, 1 for a scalar.</summary>
    public long ElementCount
    {
        get
        {
            long count = 1;
            foreach (long dimension in Shape)
            {
                count *= dimension;
            }

            return count;
        }
    }

    /// <summary>Where the values begin, in bytes from the start of <see cref="File"/>.</summary>
    internal long Offset { get; init; }

    /// <summary>The shape as messages show it: <c>[50272, 4096]</c>.</summary>
    internal string ShapeText => FormatShape(Shape.AsSpan());

    /// <summary>Writes a shape as messages show it: <c>[50272, 4096]</c>.</summary>
    internal static string FormatShape(ReadOnlySpan<long> shape) => "[" + string.Join(", ", shape.ToArray()) + "]";
}
