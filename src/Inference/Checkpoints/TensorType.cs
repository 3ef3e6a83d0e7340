namespace KernelGen.Inference.Checkpoints;

/// <summary>The element type of a stored tensor, as the safetensors format names it.</summary>
/// <remarks>
/// Every type of the format can be listed. The values of <see cref="F32"/>, <see cref="F16"/>, <see cref="BF16"/>, <see cref="I8"/>,
/// <see cref="U8"/>, <see cref="I32"/> and <see cref="I64"/> can be read; reading another is an error that names the tensor.
/// </remarks>
public enum TensorType
{
    /// <summary>One byte a value, 0 or 1.</summary>
    Bool,

    /// <summary>4-bit floating point, two values a byte.</summary>
    F4,

    /// <summary>6-bit floating point with 2 exponent bits.</summary>
    F6E2M3,

    /// <summary>6-bit floating point with 3 exponent bits.</summary>
    F6E3M2,

    /// <summary>Unsigned 8-bit integer.</summary>
    U8,

    /// <summary>Signed 8-bit integer.</summary>
    I8,

    /// <summary>8-bit floating point with 5 exponent bits.</summary>
    F8E5M2,

    /// <summary>8-bit floating point with 4 exponent bits.</summary>
    F8E4M3,

    /// <summary>8-bit power of two, a scale.</summary>
    F8E8M0,

    /// <summary>8-bit floating point with 5 exponent bits, finite, without a negative zero.</summary>
    F8E5M2Fnuz,

    /// <summary>8-bit floating point with 4 exponent bits, finite, without a negative zero.</summary>
    F8E4M3Fnuz,

    /// <summary>Signed 16-bit integer.</summary>
    I16,

    /// <summary>Unsigned 16-bit integer.</summary>
    U16,

    /// <summary>IEEE half precision.</summary>
    F16,

    /// <summary>bfloat16: the upper half of a float32.</summary>
    BF16,

    /// <summary>Signed 32-bit integer.</summary>
    I32,

    /// <summary>Unsigned 32-bit integer.</summary>
    U32,

    /// <summary>IEEE single precision.</summary>
    F32,

    /// <summary>Complex number of two float32.</summary>
    C64,

    /// <summary>IEEE double precision.</summary>
    F64,

    /// <summary>Signed 64-bit integer.</summary>
    I64,

    /// <summary>Unsigned 64-bit integer.</summary>
    U64,
}
