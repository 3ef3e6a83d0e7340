namespace KernelGen;

/// <summary>How activations, results and original weights lie in device memory. The numbers are part of the kernels' parameters.</summary>
public enum ElementFormat
{
    /// <summary>IEEE binary16.</summary>
    Float16,

    /// <summary>The upper half of a float32.</summary>
    BFloat16,

    /// <summary>IEEE binary32.</summary>
    Float32,
}
