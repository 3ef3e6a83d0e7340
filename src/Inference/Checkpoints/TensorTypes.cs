namespace KernelGen.Inference.Checkpoints;

/// <summary>What the safetensors format says about each <see cref="TensorType"/>: its name in a header and its width.</summary>
internal static class TensorTypes
{
    private static readonly (TensorType Type, string Name, int Bits)[] All =
    [
        (TensorType.Bool, "BOOL", 8),
        (TensorType.F4, "F4", 4),
        (TensorType.F6E2M3, "F6_E2M3", 6),
        (TensorType.F6E3M2, "F6_E3M2", 6),
        (TensorType.U8, "U8", 8),
        (TensorType.I8, "I8", 8),
        (TensorType.F8E5M2, "F8_E5M2", 8),
        (TensorType.F8E4M3, "F8_E4M3", 8),
        (TensorType.F8E8M0, "F8_E8M0", 8),
        (TensorType.F8E5M2Fnuz, "F8_E5M2FNUZ", 8),
        (TensorType.F8E4M3Fnuz, "F8_E4M3FNUZ", 8),
        (TensorType.I16, "I16", 16),
        (TensorType.U16, "U16", 16),
        (TensorType.F16, "F16", 16),
        (TensorType.BF16, "BF16", 16),
        (TensorType.I32, "I32", 32),
        (TensorType.U32, "U32", 32),
        (TensorType.F32, "F32", 32),
        (TensorType.C64, "C64", 64),
        (TensorType.F64, "F64", 64),
        (TensorType.I64, "I64", 64),
        (TensorType.U64, "U64", 64),
    ];

    /// <summary>The name in a safetensors header, such as <c>F16</c> or <c>F8_E4M3</c>.</summary>
    public static string HeaderName(this TensorType type) => Find(type).Name;

    /// <summary>The width of one element in bits.</summary>
    public static int BitWidth(this TensorType type) => Find(type).Bits;

    /// <summary>Finds the type that a header names; the comparison is exact, as in the format.</summary>
    public static bool TryParse(string name, out TensorType type)
    {
        foreach ((TensorType candidate, string candidateName, _) in All)
        {
            if (candidateName == name)
            {
                type = candidate;
                return true;
            }
        }

        type = default;
        return false;
    }

    /// <summary>
    /// The number of elements and of bytes that a shape takes; false when a dimension is negative, a product overflows, or the
    /// elements of a type narrower than a byte do not fill whole bytes.
    /// </summary>
    public static bool TryMeasure(TensorType type, ReadOnlySpan<long> shape, out long elements, out long bytes)
    {
        elements = 1;
        bytes = 0;
        // Multiplied in order, overflow and all, even where a later dimension is 0: the reference reader refuses those, too.
        foreach (long dimension in shape)
        {
            if (dimension < 0 || Math.BigMul(elements, dimension) is var product && product > long.MaxValue)
            {
                return false;
            }

            elements = (long)product;
        }

        Int128 bits = Math.BigMul(elements, (long)type.BitWidth());
        if (bits > long.MaxValue || bits % 8 != 0)
        {
            return false;
        }

        bytes = (long)(bits / 8);
        return true;
    }

    private static (TensorType Type, string Name, int Bits) Find(TensorType type)
    {
        int index = (int)type;
        if ((uint)index >= (uint)All.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(type), type, "This is no tensor type.");
        }

        return All[index];
    }
}
