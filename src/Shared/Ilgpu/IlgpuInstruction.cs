namespace KernelGen;

/// <summary>How an ILGPU kernel multiplies int8 values. The order is that of preference.</summary>
public enum IlgpuInstruction
{
    /// <summary>32-bit integer arithmetic: runs on every accelerator.</summary>
    Portable,

    /// <summary>dp4a, by inline PTX: CUDA accelerators from compute capability 6.1.</summary>
    Dp4a,

    /// <summary>mma.sync m16n8k32 with cp.async and ldmatrix, by inline PTX: CUDA accelerators from compute capability 8.0.</summary>
    MmaSync,
}
