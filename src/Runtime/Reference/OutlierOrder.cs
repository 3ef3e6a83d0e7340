namespace KernelGen.Reference;

/// <summary>In which order float32 operations add a result's outliers, which decides its last bits.</summary>
internal enum OutlierOrder
{
    /// <summary>Products with dequantized or original weights, summed from zero, then added: the CPU kernels.</summary>
    Apart,

    /// <summary>Products with int8 weights, summed from zero, then multiplied by the column's step and added: the GPU kernels.</summary>
    Unscaled,

    /// <summary>Products with 16-bit weights, added to the result one by one: the GPU kernels where originals are kept.</summary>
    Chained,
}
